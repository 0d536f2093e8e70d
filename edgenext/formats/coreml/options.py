"""What Core ML's options decide about a graph."""

from __future__ import annotations

from dataclasses import replace

from edgenext.errors import UsageError
from edgenext.formats.format import Choices

IOS = ("15", "16", "17", "18")
"""The systems that coremltools writes ML programs for."""


def resolve(choices: Choices) -> Choices:
    """With an image input the preprocessing is inside the graph.

    Raises:
        UsageError: a system without ML programs, or an input that Core ML does not have.
    """
    ios, image = str(choices.options.get("ios", IOS[0])), bool(choices.options.get("image"))
    if ios not in IOS:
        raise UsageError(f"unsupported iOS {ios}", f"Use --ios {', '.join(IOS[:-1])} or {IOS[-1]}")
    if choices.pixels and not image:
        raise UsageError("Core ML takes bytes as an image only", "Use --image-input")
    if image and choices.batch != 1:
        raise UsageError(
            f"Core ML takes one image a call, not {choices.batch or 'any number'}",
            "Leave out --batch, or --image-input",
        )
    return replace(choices, pixels=image)
