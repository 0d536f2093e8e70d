"""Core ML packages: Core ML's compute plan on macOS, elsewhere only whether they can be read."""

from __future__ import annotations

import sys
from collections import Counter
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from edgenext.errors import ArtifactError, RuntimeFailedError
from edgenext.formats.coreml.session import device_model, inspect, preload
from edgenext.formats.placement import check_report, placements, refusals
from edgenext.formats.session import one_line

if TYPE_CHECKING:
    from pathlib import Path

    from edgenext.formats.artifact import Artifact
    from edgenext.schema import CheckReport

UNITS = {
    "MLNeuralEngineComputeDevice": "npu",
    "MLGPUComputeDevice": "gpu",
    "MLCPUComputeDevice": "cpu",
}
"""coremltools' classes of compute devices → units."""

UNKNOWN_UNIT = "not told"
"""The unit in reports of operators whose unit Core ML has not given."""

NO_MAC = (
    "no Mac here: coremltools' reader and our interpreter take the package; which unit runs an "
    "operator only Core ML on macOS says, where this command asks it"
)


def check(artifact: Artifact) -> CheckReport:
    """The unit on which Core ML runs each operator; without macOS, whether the package is readable.

    Raises:
        MissingDependencyError: coremltools is not installed.
    """
    preload()
    fields = _by_core_ml(artifact.path) if sys.platform == "darwin" else _by_reader(artifact.path)
    return check_report(artifact, "coreml", unit="npu", version=version("coremltools"), **fields)


def _by_reader(package: Path) -> dict[str, Any]:
    """Fields of a report by coremltools' reader and the interpreter."""
    fields: dict[str, Any] = {
        "compiler": "coremltools' reader",
        "evidence": "emulated",
        "notes": (NO_MAC,),
    }
    try:
        operators = inspect(package).operators
    except (ArtifactError, RuntimeFailedError) as e:
        return fields | {"accepted": False, "delegated": False, "errors": (str(e),)}
    units = placements({UNKNOWN_UNIT: operators})
    return fields | {"accepted": True, "delegated": None, "placements": units}


def _by_core_ml(package: Path) -> dict[str, Any]:
    """Fields of a report by Core ML's compute plan (`MLComputePlan`), with all units allowed."""
    from coremltools.models.compute_plan import MLComputePlan

    fields = {"compiler": "Core ML", "evidence": "compiler"}
    try:
        model = device_model(package)  # must live as long as the compiled model is read
    except RuntimeFailedError as e:
        return fields | {"accepted": False, "delegated": False, "errors": (str(e),)}
    try:
        plan = MLComputePlan.load_from_path(model.get_compiled_model_path())
    except Exception as e:  # noqa: BLE001 - coremltools raises Core ML's errors as plain ones
        note = f"Core ML loads the package, and has no plan for it: {one_line(e)}"
        return fields | {"accepted": True, "delegated": None, "notes": (note,)}
    return fields | {"accepted": True} | _placement(plan)


def _placement(plan: Any) -> dict[str, Any]:
    """On which unit a compute plan runs each operator, and why not on the Neural Engine."""
    units: dict[str, Counter[str]] = {
        unit: Counter() for unit in ("npu", "gpu", "cpu", UNKNOWN_UNIT)
    }
    refused = []
    for operation in plan.model_structure.program.functions["main"].block.operations:
        kind = operation.operator_name.rpartition(".")[2]  # ios17.conv
        if kind == "const":
            continue
        usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
        unit = _unit(usage.preferred_compute_device) if usage else UNKNOWN_UNIT
        units[unit][kind] += 1
        if usage and unit != "npu":
            supported = "npu" in map(_unit, usage.supported_compute_devices)
            reason = (
                f"Core ML prefers the {unit}"
                if supported
                else "the Neural Engine does not support it"
            )
            refused.append((kind, next((o.name for o in operation.outputs), ""), reason))
    return {
        "delegated": None if units[UNKNOWN_UNIT] and not refused else not refused,
        "placements": placements(units),
        "refusals": refusals(refused),
        "notes": ("Core ML's plan for this Mac, with all its units allowed",),
    }


def _unit(device: object) -> str:
    return UNITS.get(type(device).__name__, UNKNOWN_UNIT)
