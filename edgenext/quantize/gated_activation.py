"""Activations as x · gate(x): look-ups and products of bytes, and no float between.

GELU(x) ≈ x · sigmoid(slope · x) (Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016, give
the slope of 1.702 and an error of at most 0.02). HardSwish(x) = x · clip(x/6 + ½, 0, 1) exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgenext.quantize.qdq import Editor
from edgenext.quantize.ranges import QParams, Values
from edgenext.quantize.recipe import Gate

SIGMOID = QParams(1 / 256, 0)
"""A sigmoid's bytes, as onnxruntime's table wants them."""
CLIPPED = QParams(1 / 255, 0)
"""A hard sigmoid's bytes: what is below 0 or above 1 saturates, which is the clipping."""
HALF = QParams(0.5 / 255, 0)
"""One half, as the byte 255."""
WIDTH = 6.0
"""HardSwish's gate goes from 0 to 1 over this width."""


def function(node: ir.Node, how: Gate | None) -> Callable[[Values], Values]:
    """What a gated activation computes, in floats."""
    if node.op_type == "HardSwish":
        return lambda x: x * np.clip(x / WIDTH + 0.5, 0, 1)
    slope = how.slope if how else Gate(reason="default").slope
    return lambda x: x / (1 + np.exp(-slope * x))


def simulate(node: ir.Node, how: Gate, x: NDArray[Any], before: QParams, behind: QParams) -> Values:
    """What the bytes of a gated activation stand for: every rounding is in it."""
    x = before.fake_quantize(x)
    if node.op_type == "HardSwish":
        level = CLIPPED.fake_quantize(x / WIDTH + 0.5)
    else:
        level = SIGMOID.fake_quantize(1 / (1 + np.exp(-how.slope * x)))
    return behind.fake_quantize(x * level)


def place(edit: Editor, node: ir.Node, quantized: ir.Value, q: QParams, how: Gate) -> None:
    """Replace an activation by its gate and a product, in a form that runtimes fuse.

    The gate reads the same bytes as the product through a DequantizeLinear of its own, whose scale
    holds the slope.
    """
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None  # noqa: S101 - an activation has an input
    name = str(node.name)
    slope = 1 / WIDTH if node.op_type == "HardSwish" else how.slope
    steep = edit.params(f"{name}_steep", QParams(q.scale * slope, q.zero_point))
    inner = edit.node("DequantizeLinear", (quantized, *steep), f"{name}_steep", before=node)
    if node.op_type == "HardSwish":
        half = edit.constant(f"{name}_half", np.asarray(255, np.uint8))
        parts = (half, *edit.params(f"{name}_half", HALF))
        shift = edit.node("DequantizeLinear", parts, f"{name}_shift", before=node)
        level = edit.node("Add", (inner, shift), f"{name}_gate", before=node)
        unit = edit.params(f"{name}_gate", CLIPPED)
    else:
        level = edit.node("Sigmoid", (inner,), f"{name}_gate", before=node)
        unit = edit.params(f"{name}_gate", SIGMOID)
    stored = edit.node("QuantizeLinear", (level, *unit), f"{name}_gate_quantized", before=node)
    back = edit.node("DequantizeLinear", (stored, *unit), f"{name}_gate_dequantized", before=node)
    product = edit.node("Mul", (x, back), f"{name}_product", before=node)
    y.replace_all_uses_with(product)
    product.name = y.name
    edit.graph.remove(node, safe=True)
