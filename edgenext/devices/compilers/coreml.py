"""Core ML packages: Core ML's own plan on macOS, elsewhere only a reader's word."""

from __future__ import annotations

import sys
from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from edgenext.devices.compilers.asking import placements, refusals, report
from edgenext.errors import ArtifactError, RuntimeFailedError
from edgenext.runtimes.coreml import device_model, inspect, preload
from edgenext.runtimes.mil_program import one_line

if TYPE_CHECKING:
    from edgenext.artifact import Artifact
    from edgenext.schema import CheckReport

UNITS = {
    "MLNeuralEngineComputeDevice": "npu",
    "MLGPUComputeDevice": "gpu",
    "MLCPUComputeDevice": "cpu",
}
"""Core ML's compute devices by the names of coremltools' classes."""

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
        return report(artifact, "coreml", **about, **_planned(artifact))
    about |= {"compiler": "coremltools' reader", "evidence": "emulated", "notes": (NO_MAC,)}
    try:
        operators = inspect(artifact.path).operators
    except (ArtifactError, RuntimeFailedError) as e:
        fields = {"accepted": False, "delegated": False, "errors": (str(e),)}
        return report(artifact, "coreml", **about, **fields)
    where = placements({"not told": operators})
    return report(artifact, "coreml", **about, accepted=True, delegated=None, placements=where)


def _planned(artifact: Artifact) -> dict[str, Any]:
    """What Core ML's compute plan says (coremltools' `MLComputePlan`), all units allowed."""
    from coremltools.models.compute_plan import MLComputePlan

    about = {"compiler": "Core ML", "evidence": "compiler"}
    try:
        model = device_model(artifact.path)  # what it has compiled does not outlive it
        plan = MLComputePlan.load_from_path(model.get_compiled_model_path())
    except Exception as e:  # noqa: BLE001 - Core ML's errors come through as plain ones
        return about | {"accepted": False, "delegated": False, "errors": (one_line(e),)}
    units: dict[str, Counter[str]] = {"npu": Counter(), "gpu": Counter(), "cpu": Counter()}
    left = []
    for operation in plan.model_structure.program.functions["main"].block.operations:
        usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
        if usage is None:  # a constant
            continue
        kind = operation.operator_name.rpartition(".")[2]
        unit = UNITS.get(type(usage.preferred_compute_device).__name__, "cpu")
        units[unit][kind] += 1
        if unit != "npu":
            able = any(
                UNITS.get(type(d).__name__) == "npu" for d in usage.supported_compute_devices
            )
            why = f"Core ML prefers the {unit}" if able else "the Neural Engine does not support it"
            left.append((kind, next((o.name for o in operation.outputs), ""), why))
    return about | {
        "accepted": True,
        "delegated": not left,
        "placements": placements(units),
        "refusals": refusals(left),
        "notes": ("Core ML's plan for this Mac, with all its units allowed",),
    }
