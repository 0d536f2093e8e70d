"""From the bounds of a graph's input to the bounds of everything that it computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgenext.graph.ranges import (
    activations,
    contraction,
    elementwise,
    integers,
    movement,
    reductions,
)
from edgenext.graph.ranges.bounds import LIMITS, UNIT, Array, Bounds, constant, shared
from edgenext.graph.ranges.step import Item, Output, Step, Transfer

TRANSFERS: dict[str, Transfer] = {
    **activations.TRANSFERS,
    **contraction.TRANSFERS,
    **elementwise.TRANSFERS,
    **integers.TRANSFERS,
    **movement.TRANSFERS,
    **reductions.TRANSFERS,
}
"""Operator → how its outputs are bounded."""


BROKEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What goes wrong with an operator of an odd kind: nothing is known of its output then."""


@dataclass(frozen=True)
class Ranges:
    """Bounds of every tensor, and everything with a limit.

    `unbounded` are the operators of which nothing is known.
    """

    bounds: Mapping[str, Bounds]
    items: tuple[Item, ...]
    unbounded: tuple[str, ...]


def propagate(model: onnx.ModelProto, low: Array, high: Array, *, half: bool = False) -> Ranges:
    """Bound every tensor of a graph, and every sum inside its operators, for all inputs.

    A bound holds for the values that a runtime computes which rounds each operator's result to its
    type, adds in float32 or better, and gives a LayerNormalization within 1 % of the exact one.

    Args:
        model: with one input that depends on the image.
        low: the input's least values, of its rank or broadcasting to it.
        high: its greatest values.
        half: float32 tensors are computed in float16, as some targets do.

    Raises:
        ValueError: the input has free dimensions besides the batch, or shapes contradict.
    """
    fixed = _with_one_image(model)
    types = _types(fixed, half)
    known = {tensor.name: _stored(tensor, half) for tensor in fixed.graph.initializer}
    source = fixed.graph.input[0]
    shape = tuple(d.dim_value for d in source.type.tensor_type.shape.dim)
    if not all(n > 0 for n in shape):
        raise ValueError(f"{source.name} has free dimensions")
    dtype = types[source.name][0]
    ends = (np.asarray(v, np.float64).reshape((1,) * (len(shape) - np.ndim(v)) + np.shape(v))
            for v in (low, high))  # fmt: skip
    known[source.name] = Bounds(source.name, shape, dtype, *shared(*ends))
    items: list[Item] = []
    unbounded: list[str] = []
    shapeless: set[str] = set()
    for node in fixed.graph.node:
        step = _step(node, known, types)
        results = _constants(step, half)
        if results is None:
            lost = not shapeless.isdisjoint(node.input)
            results, is_known = (step.nothing(), True) if lost else _bounded(step)
            if not is_known:
                unbounded.append(node.op_type)
            shapeless |= {o.name for o in step.outputs if o.shape is None}
            items += step.items
            items += [_value(step, r) for r in results if r.dtype in UNIT]
        known |= {r.name: r for r in results}
    return Ranges(known, tuple(items), tuple(dict.fromkeys(unbounded)))


def _value(step: Step, result: Bounds) -> Item:
    node = step.node
    return Item(result.name, node.name, node.op_type, "value", result.dtype, result.most)


def _bounded(step: Step) -> tuple[list[Bounds], bool]:
    """The outputs' bounds, and whether the operator is known."""
    transfer = TRANSFERS.get(step.node.op_type)
    if transfer is None or any(o.shape is None for o in step.outputs):
        return step.nothing(), False
    try:
        return transfer(step), True
    except BROKEN:
        return step.nothing(), False


def _with_one_image(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that takes one image, with the shapes of its tensors."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    for value in (*copy.graph.input, *copy.graph.output):
        dims = value.type.tensor_type.shape.dim
        if dims and not dims[0].HasField("dim_value"):
            dims[0].dim_value = 1
    return onnx.shape_inference.infer_shapes(copy, data_prop=True)


Types = dict[str, tuple[int, tuple[int, ...] | None]]


def _types(model: onnx.ModelProto, half: bool) -> Types:
    """Type and shape of every tensor whose type is known."""
    types: Types = {}
    graph = model.graph
    for value in (*graph.value_info, *graph.input, *graph.output):
        tensor = value.type.tensor_type
        known = tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim)
        shape = tuple(d.dim_value for d in tensor.shape.dim) if known else None
        dtype = tensor.elem_type
        if half and dtype == TensorProto.FLOAT:
            dtype = TensorProto.FLOAT16
        types[value.name] = dtype, shape
    return types


def _stored(tensor: onnx.TensorProto, half: bool) -> Bounds:
    value, dtype = numpy_helper.to_array(tensor), tensor.data_type
    return _known(tensor.name, value, dtype, half)


def _known(name: str, value: NDArray[Any], dtype: int, half: bool) -> Bounds:
    """A constant, rounded to float16 if it is computed so."""
    if half and dtype == TensorProto.FLOAT:
        with np.errstate(over="ignore"):
            value, dtype = value.astype(np.float16).astype(np.float32), TensorProto.FLOAT16
    return constant(name, value, dtype)


def _step(node: onnx.NodeProto, known: Mapping[str, Bounds], types: Types) -> Step:
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    inputs = [known.get(name) for name in node.input]
    default = next((b.dtype for b in inputs if b is not None), TensorProto.FLOAT)
    outputs = [Output(name, *types.get(name, (default, None))) for name in node.output if name]
    return Step(node, inputs, outputs, attributes)


def _constants(step: Step, half: bool) -> list[Bounds] | None:
    """The outputs of a node whose inputs are constants, or of the shape of a tensor."""
    node = step.node
    if node.op_type == "Shape":
        shape = np.asarray(step.x.shape, np.int64)
        part = slice(step.attributes.get("start"), step.attributes.get("end"))
        return [constant(node.output[0], shape[part], TensorProto.INT64)]
    if not all(b is not None and b.value is not None for b, n in
               zip(step.inputs, node.input, strict=True) if n):  # fmt: skip
        return None
    if node.op_type == "DequantizeLinear":
        value = step.x.value
        if value is not None and step.x.dtype in integers.RANGES:
            return [integers.dequantized(step, value)]
    from onnx.reference import ReferenceEvaluator

    names = [n for n in node.input if n]
    feeds = {b.name: b.value for b in step.inputs if b is not None and b.value is not None}
    inputs = [helper.make_tensor_value_info(n, _dtype(feeds[n]), feeds[n].shape) for n in names]
    outputs = [helper.make_value_info(n, onnx.TypeProto()) for n in node.output]
    graph = helper.make_graph([node], "constant", inputs, outputs)
    try:
        values = ReferenceEvaluator(helper.make_model(graph)).run(None, feeds)
    except BROKEN:
        return None
    return [
        _known(name, np.asarray(value), _dtype(np.asarray(value)), half)
        for name, value in zip(node.output, values, strict=True)
    ]


def _dtype(value: NDArray[Any]) -> int:
    return int(helper.np_dtype_to_tensor_dtype(value.dtype))


def limit_of(item: Item) -> float:
    """The largest value that an item's type can hold."""
    return LIMITS[item.dtype]
