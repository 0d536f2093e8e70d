"""Q/DQ placement: how the ONNX graph changes once the numbers are found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgenext.quantize.ranges import QParams, affine, snap

INT32_HEADROOM = 2**30
"""Largest quantized bias: half of what int32 holds, so that the accumulator has room too."""

Array = NDArray[Any]


@dataclass(frozen=True)
class LayerWeights:
    """A layer's int8 weights, their scale for each output channel, and its float bias."""

    levels: NDArray[np.int8]
    scales: NDArray[np.float32]
    bias: NDArray[np.float64]


@dataclass(frozen=True)
class Tensor:
    """A float tensor that will be quantized.

    `readers` get it through Q/DQ: all of them where its maker is quantized too, else the
    quantized ones alone, so that float sites read the float tensor.
    """

    value: ir.Value
    readers: tuple[tuple[ir.Node, int], ...]

    @property
    def name(self) -> str:
        """The name of the float tensor."""
        return str(self.value.name)


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
        before: ir.Node | None = None,
        after: ir.Node | None = None,
        **attributes: int | float,
    ) -> ir.Value:
        """A new node with one output called `output`, in front of another node or behind it."""
        node = ir.node(op, inputs, attributes, outputs=[ir.Value(name=output)], name=output)
        if before is not None:
            self.graph.insert_before(before, node)
        elif after is not None:
            self.graph.insert_after(after, node)
        else:
            self.graph.append(node)
        return node.outputs[0]

    def params(self, name: str, q: QParams) -> tuple[ir.Value, ir.Value]:
        """Scale and zero point of a tensor, 0-d: onnxruntime fuses less with shape [1]."""
        return (
            self.constant(f"{name}_scale", np.asarray(q.scale, np.float32)),
            self.constant(f"{name}_zero_point", np.asarray(q.zero_point, q.dtype)),
        )

    def replace_constant(self, node: ir.Node, index: int, array: Array) -> None:
        """Give a node a constant of its own in place of one that others may share."""
        old = node.inputs[index]
        assert old is not None  # noqa: S101 - the caller looked
        name = f"{node.name}_{old.name}"
        while name in self.graph.initializers:
            name += "_"
        dtype = old.const_value.numpy().dtype if old.const_value is not None else np.float32
        node.replace_input_with(index, self.constant(name, np.asarray(array, dtype)))


def quantize_activation(edit: Editor, tensor: Tensor, q: QParams) -> ir.Value:
    """Send a tensor's readers through QuantizeLinear and DequantizeLinear.

    Gives the quantized tensor.
    """
    value, name = tensor.value, tensor.name
    scale, zero = edit.params(name, q)
    cast = value.producer()
    if not tensor.readers:  # what the graph gives
        return _quantize_output(edit, value, scale, zero)
    first = _first(edit.graph, [node for node, _ in tensor.readers])
    if cast is not None and cast.op_type == "Cast":  # the image itself: it is uint8 already
        quantized = cast.inputs[0]
        assert quantized is not None  # noqa: S101 - a Cast has an input
    else:
        quantized = edit.node(
            "QuantizeLinear", (value, scale, zero), f"{name}_quantized", before=first
        )
    back = edit.node(
        "DequantizeLinear", (quantized, scale, zero), f"{name}_dequantized", before=first
    )
    for node, i in tensor.readers:
        node.replace_input_with(i, back)
    if cast is not None and cast.op_type == "Cast":
        edit.graph.remove(cast, safe=True)
    return quantized


def _quantize_output(edit: Editor, value: ir.Value, scale: ir.Value, zero: ir.Value) -> ir.Value:
    """Q/DQ behind an output of the graph, which keeps its name."""
    name = str(value.name)
    value.name = f"{name}_float"
    quantized = edit.node("QuantizeLinear", (value, scale, zero), f"{name}_quantized")
    back = edit.node("DequantizeLinear", (quantized, scale, zero), name)
    back.shape, back.type = value.shape, value.type
    outputs: Any = edit.graph.outputs
    outputs[list(outputs).index(value)] = back
    return quantized


def _first(graph: ir.Graph, nodes: Sequence[ir.Node]) -> ir.Node:
    """The node of a set that comes first in the graph."""
    wanted = set(nodes)
    return next(node for node in graph if node in wanted)


def quantize_constant(
    edit: Editor, node: ir.Node, index: int, dtype: str = "uint8", symmetric: bool = False
) -> None:
    """Store a constant operand, such as the positional encoding, in the type of activations."""
    value = node.inputs[index]
    assert value is not None and value.const_value is not None  # noqa: S101 - the caller looked
    array = value.const_value.numpy()
    q = affine(float(array.min()), float(array.max()), dtype, symmetric)
    name = f"{node.name}_{value.name}"
    stored = edit.constant(f"{name}_quantized", q.levels(array))
    parts = (stored, *edit.params(name, q))
    back = edit.node("DequantizeLinear", parts, f"{name}_dequantized", before=node)
    node.replace_input_with(index, back)


def weight_scales(
    weight: Array, bias: Array, input_scale: float, limit: int
) -> NDArray[np.float32]:
    """Symmetric scales, one an output channel, that keep weights in ±limit and biases in int32."""
    largest = np.abs(weight.reshape(len(weight), -1)).max(1)
    for_bias = np.abs(bias) / (input_scale * INT32_HEADROOM)
    return snap(np.maximum.reduce([largest / limit, for_bias, np.full(len(weight), 1e-12)]))


def store_weights(
    edit: Editor, node: ir.Node, layer: LayerWeights, input_scale: float, bias: str
) -> None:
    """Store a layer's weights as int8 behind a DequantizeLinear, its bias as int32 or float."""
    name = str(node.inputs[1].name if node.inputs[1] else node.name)
    per_channel = len(np.unique(layer.scales)) > 1
    _store(edit, node, 1, name, layer.levels, layer.scales, per_channel)
    if bias == "float32":
        edit.replace_constant(node, 2, layer.bias)
        return
    # the product in float32, as a runtime computes it when it checks the bias's scale
    scales = (np.float32(input_scale) * layer.scales).astype(np.float32)
    levels = np.round(layer.bias / scales).astype(np.int32)
    _store(edit, node, 2, f"{name}_bias", levels, scales, per_channel)


def _store(
    edit: Editor,
    node: ir.Node,
    index: int,
    name: str,
    levels: Array,
    scales: NDArray[np.float32],
    per_channel: bool,
) -> None:
    zeros = np.zeros(len(scales), levels.dtype)
    parts = (
        edit.constant(f"{name}_quantized", levels),
        edit.constant(f"{name}_scale", scales if per_channel else scales[0]),
        edit.constant(f"{name}_zero_point", zeros if per_channel else zeros[0]),
    )
    # the axis is that of a vector of scales; a single one has none
    back = edit.node("DequantizeLinear", parts, f"{name}_dequantized", before=node, axis=0)
    node.replace_input_with(index, back)


def drop_unused_constants(graph: ir.Graph) -> None:
    """Remove initializers that nothing reads any more."""
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]
