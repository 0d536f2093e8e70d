"""What Core ML's options decide about a graph."""

from __future__ import annotations

from dataclasses import replace

from edgenext.formats.format import Choices


def resolve(choices: Choices) -> Choices:
    """With an image input the preprocessing is inside the graph."""
    return replace(choices, pixels=choices.pixels or bool(choices.options.get("image")))
