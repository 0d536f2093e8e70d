"""What XNNPACK computes of an ExecuTorch program."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from edgenext.formats.placement import accelerated, asked_here

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact
    from edgenext.schema import CheckReport


def check(artifact: Artifact) -> CheckReport:
    """What XNNPACK computes in an ExecuTorch program, and what the portable kernels do.

    Raises:
        MissingDependencyError: ExecuTorch is not installed.
    """
    from edgenext.formats.executorch.session import inspect, preload

    def ask() -> dict[str, Any]:
        seen = inspect(artifact.path)
        left = {name: n for name, n in seen.operators.items() if "::" in name}
        parts = {name: n for name, n in seen.operators.items() if name not in left}
        made = accelerated("portable kernels", parts, left, seen.partitions)
        conversion = artifact.manifest.conversion
        return made | {"notes": conversion.notes if conversion else ()}

    preload()
    about = {"unit": "xnnpack", "compiler": "ExecuTorch", "version": version("executorch")}
    return asked_here(artifact, "executorch", about, ask)
