"""Core ML packages: Core ML's own plan on macOS, elsewhere only a reader's word."""

from __future__ import annotations

import sys
from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from edgenext.errors import ArtifactError, RuntimeFailedError
from edgenext.formats.coreml.program import one_line
from edgenext.formats.coreml.session import device_model, inspect, preload
from edgenext.formats.placement import placements, refusals, report

if TYPE_CHECKING:
    from pathlib import Path

    from edgenext.formats.artifact import Artifact
    from edgenext.schema import CheckReport

UNITS = {
    "MLNeuralEngineComputeDevice": "npu",
    "MLGPUComputeDevice": "gpu",
    "MLCPUComputeDevice": "cpu",
}
"""Core ML's compute devices by the names of coremltools' classes."""

NOT_TOLD = "not told"

NO_MAC = (
    "no Mac here: coremltools' reader and our interpreter take the package; which unit runs an "
    "operator only Core ML on macOS says, where this command asks it"
)


def check(artifact: Artifact) -> CheckReport:
    """Where Core ML would run each operator; off macOS whether the package can be read at all.

    Raises:
        MissingDependencyError: coremltools is not installed.
    """
    preload()
    about: dict[str, Any] = {"unit": "npu", "version": version("coremltools")}
    if sys.platform == "darwin":
        return report(artifact, "coreml", **about, **_planned(artifact.path))
    about |= {"compiler": "coremltools' reader", "evidence": "emulated", "notes": (NO_MAC,)}
    try:
        operators = inspect(artifact.path).operators
    except (ArtifactError, RuntimeFailedError) as e:
        fields = {"accepted": False, "delegated": False, "errors": (str(e),)}
        return report(artifact, "coreml", **about, **fields)
    where = placements({NOT_TOLD: operators})
    return report(artifact, "coreml", **about, accepted=True, delegated=None, placements=where)


def _planned(package: Path) -> dict[str, Any]:
    """What Core ML's compute plan says (coremltools' `MLComputePlan`), all units allowed."""
    from coremltools.models.compute_plan import MLComputePlan

    about = {"compiler": "Core ML", "evidence": "compiler"}
    try:
        model = device_model(package)  # what it has compiled does not outlive it
    except RuntimeFailedError as e:
        return about | {"accepted": False, "delegated": False, "errors": (str(e),)}
    try:
        plan = MLComputePlan.load_from_path(model.get_compiled_model_path())
    except Exception as e:  # noqa: BLE001 - Core ML's errors come through as plain ones
        note = f"Core ML loads the package, and has no plan for it: {one_line(e)}"
        return about | {"accepted": True, "delegated": None, "notes": (note,)}
    units: dict[str, Counter[str]] = {"npu": Counter(), "gpu": Counter(), "cpu": Counter()}
    units[NOT_TOLD] = Counter()
    left = []
    for operation in plan.model_structure.program.functions["main"].block.operations:
        kind = operation.operator_name.rpartition(".")[2]  # ios17.conv
        if kind == "const":
            continue
        usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
        unit = _unit(usage.preferred_compute_device) if usage else NOT_TOLD
        units[unit][kind] += 1
        if usage and unit != "npu":
            able = "npu" in map(_unit, usage.supported_compute_devices)
            why = f"Core ML prefers the {unit}" if able else "the Neural Engine does not support it"
            left.append((kind, next((o.name for o in operation.outputs), ""), why))
    return about | {
        "accepted": True,
        "delegated": None if units[NOT_TOLD] and not left else not left,
        "placements": placements(units),
        "refusals": refusals(left),
        "notes": ("Core ML's plan for this Mac, with all its units allowed",),
    }


def _unit(device: object) -> str:
    return UNITS.get(type(device).__name__, NOT_TOLD)
