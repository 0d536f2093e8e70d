"""Q/DQ placement: how the ONNX graph changes once scales and weights are known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgenext.quantize.graph_editor import Array, GraphEditor
from edgenext.quantize.plan import PlannedTensor
from edgenext.quantize.ranges import QParams, affine
from edgenext.quantize.weights import LayerWeights

INT4 = ir.DataType.INT4.numpy()


def quantize_activation(edit: GraphEditor, tensor: PlannedTensor, q: QParams) -> ir.Value:
    """Put QuantizeLinear and DequantizeLinear between a tensor and its readers.

    Returns:
        The quantized tensor.
    """
    value, name = tensor.value, tensor.name
    scale, zero = edit.params(name, q)
    cast = value.producer()
    if not tensor.readers:  # an output of the graph
        return _quantize_output(edit, value, scale, zero)
    first = _first_node(edit.graph, [node for node, _ in tensor.readers])
    if cast is not None and cast.op_type == "Cast":  # the image: it is uint8 already
        quantized = cast.inputs[0]
        assert quantized is not None  # noqa: S101 - a Cast has an input
    else:
        quantized = edit.node(
            "QuantizeLinear", (value, scale, zero), f"{name}_quantized", before=first
        )
    dequantized = edit.node(
        "DequantizeLinear", (quantized, scale, zero), f"{name}_dequantized", before=first
    )
    for node, i in tensor.readers:
        node.replace_input_with(i, dequantized)
    if cast is not None and cast.op_type == "Cast":
        edit.graph.remove(cast, safe=True)
    return quantized


def _quantize_output(
    edit: GraphEditor, value: ir.Value, scale: ir.Value, zero: ir.Value
) -> ir.Value:
    """Put Q/DQ behind an output of the graph, which keeps its name."""
    name = str(value.name)
    value.name = f"{name}_float"
    quantized = edit.node("QuantizeLinear", (value, scale, zero), f"{name}_quantized")
    dequantized = edit.node("DequantizeLinear", (quantized, scale, zero), name)
    dequantized.shape, dequantized.type = value.shape, value.type
    outputs: Any = edit.graph.outputs
    outputs[list(outputs).index(value)] = dequantized
    return quantized


def _first_node(graph: ir.Graph, nodes: Sequence[ir.Node]) -> ir.Node:
    """The node of a set that comes first in the graph."""
    members = set(nodes)
    return next(node for node in graph if node in members)


def quantize_constant(
    edit: GraphEditor, node: ir.Node, index: int, dtype: str = "uint8", symmetric: bool = False
) -> None:
    """Store a constant operand, such as the positional encoding, in the type of activations."""
    value = node.inputs[index]
    assert value is not None and value.const_value is not None  # noqa: S101 - the caller checked
    array = value.const_value.numpy()
    q = affine(float(array.min()), float(array.max()), dtype, symmetric)
    name = f"{node.name}_{value.name}"
    stored = edit.constant(f"{name}_quantized", q.levels(array))
    parts = (stored, *edit.params(name, q))
    dequantized = edit.node("DequantizeLinear", parts, f"{name}_dequantized", before=node)
    node.replace_input_with(index, dequantized)


def store_weights(
    edit: GraphEditor,
    node: ir.Node,
    layer: LayerWeights,
    input_scale: float,
    bias: str,
    *,
    int4_as: str = "int4",
) -> None:
    """Store a layer's weights behind a DequantizeLinear, its bias as int32 or float.

    Args:
        edit: of the graph.
        node: the layer.
        layer: its weights.
        input_scale: the scale of its input.
        bias: the type of its bias.
        int4_as: how int4 weights are stored; see the recipe's `Weights`.
    """
    name = str(node.inputs[1].name if node.inputs[1] else node.name)
    per_channel = len(np.unique(layer.scales)) > 1
    narrow = layer.int4 and int4_as != "int8"
    levels = layer.levels.astype(INT4) if narrow else layer.levels
    widened = narrow and int4_as == "cast"
    _store_constant(edit, node, 1, name, levels, layer.scales, per_channel, widened=widened)
    if bias == "float32":
        edit.replace_constant(node, 2, layer.bias)
        return
    # in float32, as runtimes compute the product when they check the bias's scale
    scales = (np.float32(input_scale) * layer.scales).astype(np.float32)
    levels = np.round(layer.bias / scales).astype(np.int32)
    _store_constant(edit, node, 2, f"{name}_bias", levels, scales, per_channel)


def _store_constant(
    edit: GraphEditor,
    node: ir.Node,
    index: int,
    name: str,
    levels: Array,
    scales: NDArray[np.float32],
    per_channel: bool,
    *,
    widened: bool = False,
) -> None:
    zeros = np.zeros(len(scales), np.int8 if widened else levels.dtype)
    stored = edit.constant(f"{name}_quantized", levels)
    if widened:
        stored = edit.node(
            "Cast", (stored,), f"{name}_widened", before=node, to=ir.DataType.INT8.value
        )
    parts = (
        stored,
        edit.constant(f"{name}_scale", scales if per_channel else scales[0]),
        edit.constant(f"{name}_zero_point", zeros if per_channel else zeros[0]),
    )
    # only a vector of scales has an axis
    dequantized = edit.node("DequantizeLinear", parts, f"{name}_dequantized", before=node, axis=0)
    node.replace_input_with(index, dequantized)
