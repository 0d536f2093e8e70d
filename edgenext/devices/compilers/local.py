"""Runtimes of this machine's CPU: what their own kernels make of a file."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from edgenext.devices.compilers.asking import placements, refusals, report
from edgenext.errors import RuntimeFailedError

if TYPE_CHECKING:
    from edgenext.artifact import Artifact
    from edgenext.schema import CheckReport

Counts = Mapping[str, int]

CONVERSIONS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
"""onnxruntime's operators between integers and floats."""


def tflite(artifact: Artifact) -> CheckReport:
    """What XNNPACK takes of a TFLite file, and what is left to LiteRT's builtin kernels.

    Raises:
        MissingDependencyError: LiteRT is not installed.
    """
    from edgenext.runtimes.tflite import executed, inspect, preload

    def ask() -> dict[str, Any]:
        seen = inspect(artifact.path)
        left = Counter(executed(artifact.path))
        pieces = left.pop("DELEGATE", 0)
        return _accelerated("builtin kernels", Counter(seen.operators) - left, left, pieces)

    preload()
    about = {"unit": "xnnpack", "compiler": "LiteRT", "version": version("ai-edge-litert")}
    return _asked(artifact, "tflite", about, ask)


def executorch(artifact: Artifact) -> CheckReport:
    """What XNNPACK computes in an ExecuTorch program, and what the portable kernels do.

    Raises:
        MissingDependencyError: ExecuTorch is not installed.
    """
    from edgenext.runtimes.executorch import inspect, preload

    def ask() -> dict[str, Any]:
        seen = inspect(artifact.path)
        left = {name: n for name, n in seen.operators.items() if "::" in name}
        parts = {name: n for name, n in seen.operators.items() if name not in left}
        made = _accelerated("portable kernels", parts, left, seen.partitions)
        conversion = artifact.manifest.conversion
        return made | {"notes": conversion.notes if conversion else ()}

    preload()
    about = {"unit": "xnnpack", "compiler": "ExecuTorch", "version": version("executorch")}
    return _asked(artifact, "executorch", about, ask)


def onnxruntime(artifact: Artifact) -> CheckReport:
    """What onnxruntime makes of an ONNX file: its operators after fusion, integer and float."""
    from edgenext.runtimes.onnxruntime import optimised

    def ask() -> dict[str, Any]:
        operators = optimised(artifact.path)
        integer = sum(n for name, n in operators.items() if name.startswith(("QLinear", "QGemm")))
        integer += sum(n for name, n in operators.items() if "Integer" in name or "Nbit" in name)
        between = sum(operators.get(name, 0) for name in CONVERSIONS)
        rest = sum(operators.values()) - integer - between
        note = f"{integer} operators on integers, {rest} on floats, {between} conversions between"
        return {"placements": placements({"cpu": operators}), "notes": (note,)}

    about = {"unit": "cpu", "compiler": "onnxruntime", "version": version("onnxruntime")}
    return _asked(artifact, "cpu-onnxruntime", about, ask)


def openvino(artifact: Artifact) -> CheckReport:
    """What OpenVINO makes of a file: its primitives after fusion, by precision.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
    """
    from edgenext.runtimes.openvino import preload, primitives

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
    return _asked(artifact, "cpu-openvino", about, ask)


def _accelerated(others: str, taken: Counts, left: Counts, pieces: int | None) -> dict[str, Any]:
    why = f"XNNPACK leaves it to the {others}"
    return {
        "placements": placements({"xnnpack": taken, others: left}),
        "refusals": refusals([(name, "", why) for name, n in left.items() for _ in range(n)]),
        "delegated": not left,
        "partitions": pieces,
    }


def _asked(
    artifact: Artifact, target: str, about: dict[str, Any], ask: Callable[[], dict[str, Any]]
) -> CheckReport:
    """The record of what a runtime says, or of its refusal."""
    start = time.monotonic()
    fields: dict[str, Any] = {"evidence": "host", "accepted": True, "delegated": True}
    try:
        fields |= ask()
    except RuntimeFailedError as e:
        fields |= {"accepted": False, "delegated": False, "errors": (str(e),)}
    fields["seconds"] = round(time.monotonic() - start, 1)
    return report(artifact, target, **about, **fields)
