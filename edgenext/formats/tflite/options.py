"""What TFLite's options decide of a graph."""

from __future__ import annotations

from dataclasses import replace

from edgenext.formats.format import Choices


def resolve(choices: Choices) -> Choices:
    """Integers at both ends quantize the first and last layer too."""
    return replace(choices, integer_io=bool(choices.options.get("integer_io")))
