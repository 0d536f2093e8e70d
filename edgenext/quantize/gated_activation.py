"""Activations as x · gate(x): look-up tables and products of bytes, without floats between them.

GELU(x) ≈ x · sigmoid(slope · x) (Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016, give
the slope of 1.702 and an error of at most 0.02). HardSwish(x) = x · clip(x/6 + ½, 0, 1) exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgenext.quantize.graph_editor import GraphEditor
from edgenext.quantize.ranges import LIMITS, Elementwise, QParams, Values
from edgenext.quantize.recipe import Gate

SIGMOID = QParams(1 / 256, 0)
"""Of a sigmoid's output, as onnxruntime's look-up table requires."""
CLIPPED = QParams(1 / 255, 0)
"""Of a hard sigmoid's output: values below 0 or above 1 saturate, which is its clipping."""
HALF = QParams(0.5 / 255, 0)
"""One half, as the byte 255."""
WIDTH = 6.0
"""HardSwish's gate goes from 0 to 1 over this width."""
GATE_OUTPUT = "_gate_quantized"
"""The end of the name of a gate's QuantizeLinear, whose scale is part of the arithmetic."""


def hard_swish(x: Values) -> Values:
    """X · clip(x/6 + ½, 0, 1), of any shape, in the type of x."""
    return np.asarray(x * np.clip(x / WIDTH + 0.5, 0, 1))


def float_function(node: ir.Node, gate: Gate | None) -> Elementwise:
    """The function of a gated activation, in floats."""
    if node.op_type == "HardSwish":
        return hard_swish
    slope = gate.slope if gate else Gate(reason="default").slope
    return lambda x: x / (1 + np.exp(-slope * x))


def exact(node: ir.Node, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The output of an activation in the float network."""
    if node.op_type != "HardSwish":
        return gelu(x)
    import torch

    result: NDArray[np.float32] = torch.nn.functional.hardswish(torch.from_numpy(x)).numpy()
    return result


def gelu(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """GELU of a tensor of any shape, as the float network computes it."""
    import torch

    result: NDArray[np.float32] = torch.nn.functional.gelu(torch.from_numpy(x)).numpy()
    return result


def simulate(
    node: ir.Node, gate: Gate, x: NDArray[Any], input_params: QParams, output_params: QParams
) -> NDArray[np.float32]:
    """The quantized output of a gated activation less its zero point, with all its roundings."""
    first, last = LIMITS[input_params.dtype]
    values = (np.arange(first, last + 1) - input_params.zero_point) * input_params.scale
    if node.op_type == "HardSwish":
        level = CLIPPED.fake_quantize(values / WIDTH + 0.5)
    else:
        level = SIGMOID.fake_quantize(1 / (1 + np.exp(-gate.slope * values)))
    table = output_params.steps(values * level).astype(np.float32)
    return table[input_params.levels(x).astype(np.intp) - first]


def replace_activation(
    edit: GraphEditor, node: ir.Node, quantized: ir.Value, q: QParams, gate: Gate
) -> None:
    """Replace an activation by its gate and a product, in a form that runtimes fuse.

    The gate reads the same bytes as the product through a DequantizeLinear of its own, whose scale
    includes the slope.
    """
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None  # noqa: S101 - an activation has an input
    name = str(node.name)
    slope = 1 / WIDTH if node.op_type == "HardSwish" else gate.slope
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
    stored = edit.node("QuantizeLinear", (level, *unit), f"{name}{GATE_OUTPUT}", before=node)
    gate_output = edit.node(
        "DequantizeLinear", (stored, *unit), f"{name}_gate_dequantized", before=node
    )
    product = edit.node("Mul", (x, gate_output), f"{name}_product", before=node)
    y.replace_all_uses_with(product)
    product.name = y.name
    edit.graph.remove(node, safe=True)
