"""What Core ML's options decide of a graph."""

from __future__ import annotations

from dataclasses import replace

from edgenext.formats.format import Choices


def resolve(choices: Choices) -> Choices:
    """An image input has the preprocessing inside the graph."""
    return replace(choices, pixels=choices.pixels or bool(choices.options.get("image")))
