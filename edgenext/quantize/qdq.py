"""Q/DQ placement: how the ONNX graph changes once the numbers are found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgenext.quantize.ranges import QParams, snap

INT32_HEADROOM = 2**30
"""Largest quantized bias: half of what int32 holds, so that the accumulator has room too."""

Array = NDArray[Any]


class Editor:
    """A graph under quantization: inserts nodes and constants, keeps names unique."""

    def __init__(self, graph: ir.Graph) -> None:
        self.graph = graph

    def constant(self, name: str, array: Array) -> ir.Value:
        """A new initializer."""
        tensor = ir.tensor(np.asarray(array, order="C"), name=name)
        shape = ir.Shape(array.shape)
        value = ir.Value(
            name=name, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=shape
        )
        self.graph.register_initializer(value)
        return value

    def node(
        self,
        op: str,
        inputs: Sequence[ir.Value],
        output: str,
        *,
        before: ir.Node,
        **attributes: int | float,
    ) -> ir.Value:
        """A new node with one output called `output`, in front of another node."""
        node = ir.node(op, inputs, attributes, outputs=[ir.Value(name=output)], name=output)
        self.graph.insert_before(before, node)
        return node.outputs[0]

    def params(self, name: str, q: QParams) -> tuple[ir.Value, ir.Value]:
        """Scale and zero point of a uint8 tensor."""
        return (
            self.constant(f"{name}_scale", np.asarray(q.scale, np.float32)),
            self.constant(f"{name}_zero_point", np.asarray(q.zero_point, np.uint8)),
        )


def quantize_activation(edit: Editor, value: ir.Value, q: QParams) -> ir.Value:
    """Send all readers of a float tensor through QuantizeLinear and DequantizeLinear.

    Gives the uint8 tensor.
    """
    readers = [(node, i) for node, i in value.uses()]
    first = _first(edit.graph, [node for node, _ in readers])
    scale, zero = edit.params(str(value.name), q)
    cast = value.producer()
    if cast is not None and cast.op_type == "Cast":  # the image itself: it is uint8 already
        quantized = cast.inputs[0]
        assert quantized is not None  # noqa: S101 - a Cast has an input
    else:
        quantized = edit.node(
            "QuantizeLinear", (value, scale, zero), f"{value.name}_quantized", before=first
        )
    back = edit.node(
        "DequantizeLinear", (quantized, scale, zero), f"{value.name}_dequantized", before=first
    )
    for node, i in readers:
        node.replace_input_with(i, back)
    if cast is not None and cast.op_type == "Cast":
        edit.graph.remove(cast, safe=True)
    return quantized


def _first(graph: ir.Graph, nodes: Sequence[ir.Node]) -> ir.Node:
    """The node of a set that comes first in the graph."""
    wanted = set(nodes)
    return next(node for node in graph if node in wanted)


def quantize_constant(edit: Editor, node: ir.Node, index: int, q: QParams) -> None:
    """Store a constant operand (a positional encoding) as uint8."""
    value = node.inputs[index]
    assert value is not None and value.const_value is not None  # noqa: S101 - the caller looked
    array = value.const_value.numpy()
    levels = np.clip(np.round(array / q.scale) + q.zero_point, 0, 255).astype(np.uint8)
    stored = edit.constant(f"{value.name}_quantized", levels)
    scale, zero = edit.params(str(value.name), q)
    back = edit.node(
        "DequantizeLinear", (stored, scale, zero), f"{value.name}_dequantized", before=node
    )
    node.replace_input_with(index, back)


def weight_scales(
    weight: Array, bias: Array, input_scale: float, limit: int
) -> NDArray[np.float32]:
    """Symmetric scales, one an output channel, that keep weights in ±limit and biases in int32."""
    largest = np.abs(weight.reshape(len(weight), -1)).max(1)
    for_bias = np.abs(bias) / (input_scale * INT32_HEADROOM)
    return snap(np.maximum.reduce([largest / limit, for_bias, np.full(len(weight), 1e-12)]))


def quantize_weights(
    edit: Editor, node: ir.Node, weight: Array, bias: Array, input_scale: float, limit: int
) -> None:
    """Store a layer's weights as int8 and its bias as int32, one scale an output channel."""
    name = str(node.inputs[1].name if node.inputs[1] else node.name)
    scales = weight_scales(weight, bias, input_scale, limit)
    shape = (-1,) + (1,) * (weight.ndim - 1)
    levels = np.clip(np.round(weight / scales.reshape(shape)), -limit, limit).astype(np.int8)
    # the product in float32, as a runtime computes it when it checks the bias's scale
    bias_scales = (np.float32(input_scale) * scales).astype(np.float32)
    bias_levels = np.round(bias / bias_scales).astype(np.int32)
    for index, label, values, scale in (
        (1, name, levels, scales),
        (2, f"{name}_bias", bias_levels, bias_scales),
    ):
        parts = (
            edit.constant(f"{label}_quantized", values),
            edit.constant(f"{label}_scale", scale),
            edit.constant(f"{label}_zero_point", np.zeros(len(scale), values.dtype)),
        )
        back = edit.node("DequantizeLinear", parts, f"{label}_dequantized", before=node, axis=0)
        node.replace_input_with(index, back)


def drop_unused_constants(graph: ir.Graph) -> None:
    """Remove initializers that nothing reads any more."""
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]
