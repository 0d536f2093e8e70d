"""What XNNPACK takes of a TFLite file."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from edgenext.formats.placement import accelerated, asked_here

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact
    from edgenext.schema import CheckReport


def check(artifact: Artifact) -> CheckReport:
    """What XNNPACK takes of a TFLite file, and what is left to LiteRT's builtin kernels.

    Raises:
        MissingDependencyError: LiteRT is not installed.
    """
    from edgenext.formats.tflite.session import executed, inspect, preload

    def ask() -> dict[str, Any]:
        seen = inspect(artifact.path)
        left = Counter(executed(artifact.path))
        pieces = left.pop("DELEGATE", 0)
        return accelerated("builtin kernels", Counter(seen.operators) - left, left, pieces)

    preload()
    about = {"unit": "xnnpack", "compiler": "LiteRT", "version": version("ai-edge-litert")}
    return asked_here(artifact, "tflite", about, ask)
