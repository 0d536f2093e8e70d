"""GELU as x · sigmoid(slope · x): two 256-entry tables in an 8-bit graph, and no float between.

Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016, give the approximation and its slope
of 1.702. Its error is at most 0.02; the mean of it is taken out of the bias of the next layer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from edgenext.quantize.calibrate import TensorStats
from edgenext.quantize.qdq import Editor
from edgenext.quantize.ranges import QParams


def table(slope: float) -> Callable[[NDArray[np.floating]], NDArray[np.floating]]:
    """The function the tables hold."""
    return lambda x: x / (1 + np.exp(-slope * x))


def with_shadows(
    model: onnx.ModelProto, outputs: Sequence[str], slope: float
) -> tuple[onnx.ModelProto, dict[str, str]]:
    """A copy of a float graph that computes the approximation beside the GELUs.

    Gives the copy, and from each GELU's output in `outputs` the name of its approximation.
    """
    if not outputs:
        return model, {}
    copy = ir.from_proto(model)
    edit = Editor(copy.graph)
    shadows: dict[str, str] = {}
    factor = edit.constant("gelu_slope", np.asarray(slope, np.float32))
    for node in list(copy.graph):
        name = str(node.outputs[0].name)
        if node.op_type == "Gelu" and name in outputs:
            x = node.inputs[0]
            assert x is not None  # noqa: S101 - a Gelu has an input
            steep = edit.node("Mul", (x, factor), f"{name}_steep", before=node)
            gate = edit.node("Sigmoid", (steep,), f"{name}_gate", before=node)
            shadow = edit.node("Mul", (x, gate), f"{name}_table", before=node)
            shadows[name] = str(shadow.name)
    return ir.to_proto(copy), shadows


def lost_mean(
    weight: NDArray[np.float32], exact: TensorStats, shadow: TensorStats
) -> NDArray[np.float32]:
    """What a layer's mean output loses because it reads the approximation, one value a channel."""
    lost = exact.channel_mean - shadow.channel_mean
    matrix = weight.reshape(len(weight), -1).astype(np.float64)
    return np.asarray(matrix @ lost, np.float32)


def place(edit: Editor, gelu: ir.Node, quantized: ir.Value, q: QParams, slope: float) -> None:
    """GELU as x · sigmoid(slope · x), in a form that runtimes turn into two table look-ups.

    The sigmoid reads the same uint8 tensor as the product, with its scale multiplied by `slope`;
    its own output has scale 1/256 and zero point 0.
    """
    x, y = gelu.inputs[0], gelu.outputs[0]
    assert x is not None  # noqa: S101 - a Gelu has an input
    name = str(gelu.name)
    steep = edit.params(f"{name}_steep", QParams(q.scale * slope, q.zero_point))
    inner = edit.node("DequantizeLinear", (quantized, *steep), f"{name}_steep", before=gelu)
    sigmoid = edit.node("Sigmoid", (inner,), f"{name}_sigmoid", before=gelu)
    unit = edit.params(f"{name}_sigmoid", QParams(1 / 256, 0))
    level = edit.node("QuantizeLinear", (sigmoid, *unit), f"{name}_sigmoid_quantized", before=gelu)
    gate = edit.node("DequantizeLinear", (level, *unit), f"{name}_sigmoid_dequantized", before=gelu)
    product = edit.node("Mul", (x, gate), f"{name}_product", before=gelu)
    y.replace_all_uses_with(product)
    product.name = y.name
    edit.graph.remove(gelu, safe=True)
