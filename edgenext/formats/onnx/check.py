"""What onnxruntime makes of an ONNX file on this machine's CPU."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from edgenext.formats.placement import placements, runtime_report

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact
    from edgenext.schema import CheckReport

CONVERSIONS = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
"""onnxruntime's operators between integers and floats."""


def check(artifact: Artifact) -> CheckReport:
    """The operators of onnxruntime after fusion, and how many of them compute in integers."""
    from edgenext.formats.onnx.session import optimised_operators

    def inspect() -> dict[str, Any]:
        operators = optimised_operators(artifact.path)
        integer = sum(n for name, n in operators.items() if _is_integer(name))
        between = sum(operators.get(name, 0) for name in CONVERSIONS)
        rest = sum(operators.values()) - integer - between
        note = f"{integer} operators on integers, {rest} on floats, {between} conversions between"
        return {"placements": placements({"cpu": operators}), "notes": (note,)}

    fields = {"unit": "cpu", "compiler": "onnxruntime", "version": version("onnxruntime")}
    return runtime_report(artifact, "cpu-onnxruntime", fields, inspect)


def _is_integer(operator: str) -> bool:
    """Whether an operator of onnxruntime computes in integers, by its name."""
    prefixes, infixes = ("QLinear", "QGemm"), ("Integer", "Nbit")
    return operator.startswith(prefixes) or any(infix in operator for infix in infixes)
