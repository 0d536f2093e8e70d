"""What TFLite's options decide about a graph."""

from __future__ import annotations

from dataclasses import replace

from edgenext.formats.format import Choices


def resolve(choices: Choices) -> Choices:
    """Integer input and output: the first and last layer are quantized too."""
    return replace(choices, integer_io=bool(choices.options.get("integer_io")))
