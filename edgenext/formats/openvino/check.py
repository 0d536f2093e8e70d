"""What OpenVINO makes of a file on this machine's CPU."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from edgenext.formats.placement import placements, runtime_report

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact
    from edgenext.schema import CheckReport


def check(artifact: Artifact) -> CheckReport:
    """OpenVINO's primitives after fusion, by type and precision.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
    """
    from edgenext.formats.openvino.session import preload, primitives

    def inspect() -> dict[str, Any]:
        counts = primitives(artifact.path, artifact.manifest)
        operators: Counter[str] = Counter()
        for (kind, precision), n in counts.items():
            operators[f"{kind} {precision}"] += n
        integer = sum(n for (_, precision), n in counts.items() if precision in ("i8", "u8"))
        note = f"{integer} of {sum(counts.values())} primitives compute in 8 bits"
        return {"placements": placements({"cpu": operators}), "notes": (note,)}

    preload()
    fields = {"unit": "cpu", "compiler": "OpenVINO", "version": version("openvino")}
    return runtime_report(artifact, "cpu-openvino", fields, inspect)
