"""Runtimes of this machine's CPU: what their own kernels make of a file."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from edgenext.formats.placement import asked_here, placements

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact
    from edgenext.schema import CheckReport


CONVERSIONS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
"""onnxruntime's operators between integers and floats."""


def check(artifact: Artifact) -> CheckReport:
    """What onnxruntime makes of an ONNX file: its operators after fusion, integer and float."""
    from edgenext.formats.onnx.session import optimised

    def ask() -> dict[str, Any]:
        operators = optimised(artifact.path)
        integer = sum(n for name, n in operators.items() if name.startswith(("QLinear", "QGemm")))
        integer += sum(n for name, n in operators.items() if "Integer" in name or "Nbit" in name)
        between = sum(operators.get(name, 0) for name in CONVERSIONS)
        rest = sum(operators.values()) - integer - between
        note = f"{integer} operators on integers, {rest} on floats, {between} conversions between"
        return {"placements": placements({"cpu": operators}), "notes": (note,)}

    about = {"unit": "cpu", "compiler": "onnxruntime", "version": version("onnxruntime")}
    return asked_here(artifact, "cpu-onnxruntime", about, ask)
