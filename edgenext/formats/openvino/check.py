"""What OpenVINO makes of a file for this CPU."""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from edgenext.formats.placement import asked_here, placements

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact
    from edgenext.schema import CheckReport


def check(artifact: Artifact) -> CheckReport:
    """What OpenVINO makes of a file: its primitives after fusion, by precision.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
    """
    from edgenext.formats.openvino.session import preload, primitives

    def ask() -> dict[str, Any]:
        found = primitives(artifact.path, artifact.manifest)
        operators: Counter[str] = Counter()
        for (kind, precision), n in found.items():
            operators[f"{kind} {precision}"] += n
        integer = sum(n for (_, precision), n in found.items() if precision in ("i8", "u8"))
        note = f"{integer} of {sum(found.values())} primitives compute in 8 bits"
        return {"placements": placements({"cpu": operators}), "notes": (note,)}

    preload()
    about = {"unit": "cpu", "compiler": "OpenVINO", "version": version("openvino")}
    return asked_here(artifact, "cpu-openvino", about, ask)
