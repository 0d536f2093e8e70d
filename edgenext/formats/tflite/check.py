"""What XNNPACK runs of a TFLite file."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from edgenext.formats.placement import runtime_report, xnnpack_placement

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact
    from edgenext.schema import CheckReport


def check(artifact: Artifact) -> CheckReport:
    """What XNNPACK runs of a TFLite file, and what LiteRT's builtin kernels run.

    Raises:
        MissingDependencyError: LiteRT is not installed.
    """
    from edgenext.formats.tflite import session

    def inspect() -> dict[str, Any]:
        operators = Counter(session.inspect(artifact.path).operators)
        builtin = Counter(session.executed_operators(artifact.path))
        partitions = builtin.pop(session.DELEGATE, 0)
        return xnnpack_placement("builtin kernels", operators - builtin, builtin, partitions)

    session.preload()
    fields = {"unit": "xnnpack", "compiler": "LiteRT", "version": version("ai-edge-litert")}
    return runtime_report(artifact, "tflite", fields, inspect)
