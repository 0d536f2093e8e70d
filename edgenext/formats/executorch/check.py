"""What XNNPACK runs of an ExecuTorch program."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from edgenext.formats.placement import runtime_report, xnnpack_placement

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact
    from edgenext.schema import CheckReport


def check(artifact: Artifact) -> CheckReport:
    """What XNNPACK runs of an ExecuTorch program, and what the portable kernels run.

    Raises:
        MissingDependencyError: ExecuTorch is not installed.
    """
    from edgenext.formats.executorch import session

    def inspect() -> dict[str, Any]:
        inspection = session.inspect(artifact.path)
        portable = {name: n for name, n in inspection.operators.items() if "::" in name}
        parts = {name: n for name, n in inspection.operators.items() if name not in portable}
        conversion = artifact.manifest.conversion
        fields = xnnpack_placement("portable kernels", parts, portable, inspection.partitions)
        return fields | {"notes": conversion.notes if conversion else ()}

    session.preload()
    fields = {"unit": "xnnpack", "compiler": "ExecuTorch", "version": version("executorch")}
    return runtime_report(artifact, "executorch", fields, inspect)
