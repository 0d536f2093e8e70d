"""Operators without weights in an integer file."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from edgenext.errors import ArtifactError
from edgenext.formats.ethos_u.norms import constant_of, sizes
from edgenext.formats.ethos_u.tensors import Tensors, numbers, stored, wanted
from edgenext.formats.tflite.writer import Array

UNIT = 2.0**-15
"""The scale of shares of one in 16 bits: what LiteRT's softmax gives."""

FULL = {np.int8: 127, np.int16: 32767}
"""The largest level of each type."""


def elementwise(tensors: Tensors, node: ir.Node) -> None:
    """A sum, difference or product: in bytes if operands and readers are, else in 16 bits."""
    value, rank = node.outputs[0], len(sizes(node.outputs[0]))
    active = [v for v in node.inputs if v is not None and _computed(v)]
    params = wanted(value) if not any(tensors[v].wide for v in active) else None
    read = tensors.wide if params is None else tensors.bytes
    order = next(x.order for x in map(read, active) if len(x.order) == rank)
    dtype = np.int16 if params is None else np.int8
    inputs = []
    for operand in node.inputs:
        if operand in active:
            inputs.append(tensors.arranged(read(operand), order).index)
            continue
        array = numbers(operand)
        if node.op_type == "Add" and np.abs(array).max() < read(active[0]).scale / 2:
            tensors[value] = tensors.arranged(read(active[0]), order)
            return  # less than the last bit
        array = array.reshape((1,) * (rank - array.ndim) + array.shape).transpose(order)
        step = _step(array, FULL[dtype])
        levels = np.round(array / step).astype(dtype)
        name = f"{value.name}_{len(inputs)}"
        inputs.append(tensors.file.constant(name, levels, [step]))
    made = tensors.add(value, [sizes(value)[axis] for axis in order], order, params)
    options = {} if node.op_type == "Mul" else {"potScaleInt16": False}
    tensors.file.operator(node.op_type.upper(), inputs, [made], **options)


def look_up(tensors: Tensors, node: ir.Node) -> None:
    """An activation in bytes: a table of 256 values."""
    x, value = tensors.bytes(node.inputs[0]), node.outputs[0]
    made = tensors.add(value, x.shape, x.order, wanted(value) or tensors.byte_params(value))
    tensors.file.operator("GELU" if node.op_type == "Gelu" else "HARD_SWISH", [x.index], [made])


def magnitude(tensors: Tensors, node: ir.Node) -> None:
    """Magnitudes, in 16 bits."""
    x = tensors.wide(node.inputs[0])
    made = tensors.add(node.outputs[0], x.shape, x.order, None)
    tensors.file.operator("ABS", [x.index], [made])


def inverse_root(tensors: Tensors, node: ir.Node) -> None:
    """x^−½ in 16 bits, whose largest value is that of the first level.

    Raises:
        ArtifactError: another power.
    """
    if not math.isclose(float(constant_of(node.inputs[1])), -0.5):
        raise ArtifactError(f"{node.name} is a power other than −½")
    x, value = tensors.wide(node.inputs[0]), node.outputs[0]
    low, high = tensors.range(value)
    tensors.limit(value, low, min(high, x.scale**-0.5))
    made = tensors.add(value, x.shape, x.order, None)
    tensors.file.operator("RSQRT", [x.index], [made])


def mean(tensors: Tensors, node: ir.Node) -> None:
    """Means in 16 bits."""
    x, value = tensors.wide(node.inputs[0]), node.outputs[0]
    rank = len(x.shape)
    places = sorted(x.order.index(int(a) % rank) for a in constant_of(node.inputs[1]))
    keep = bool(node.attributes["keepdims"].as_int())
    if keep and places == [rank - 1] and rank > 2:  # over channels: the NPU wants one row of points
        points = math.prod(x.shape[:-1])
        flat = tensors.reshaped(x, (1, 1, points, x.shape[-1]))
        row = tensors.add(value, (1, 1, points, 1), range(4), None)
        tensors.file.operator("MEAN", [flat.index, tensors.file.integers(3)], [row], keepDims=True)
        tensors[value] = tensors.reshaped(row, (*x.shape[:-1], 1), x.order)
        return
    left = [i for i in range(rank) if keep or i not in places]
    kept = sorted(x.order[i] for i in left)
    shape = [1 if i in places else x.shape[i] for i in left]
    made = tensors.add(value, shape, [kept.index(x.order[i]) for i in left], None)
    inputs = [x.index, tensors.file.integers(*places)]
    tensors.file.operator("MEAN", inputs, [made], keepDims=keep)


def softmax(tensors: Tensors, node: ir.Node) -> None:
    """A softmax over the last axis, in 16 bits."""
    x, value = tensors.arranged(tensors.wide(node.inputs[0])), node.outputs[0]
    made = tensors.file.activation(str(value.name), x.shape, np.int16, UNIT, 0, x.order)
    tensors[value] = made
    tensors.file.operator("SOFTMAX", [x.index], [made], beta=1.0)


def product(tensors: Tensors, node: ir.Node) -> None:
    """A product of two matrices, in bytes: the NPU has no other."""
    a, b = (tensors.bytes(v) for v in node.inputs)
    rank, value = len(a.shape), node.outputs[0]
    turned = (*range(rank - 2), rank - 1, rank - 2)
    a, b = (x if x.order == turned else tensors.arranged(x) for x in (a, b))
    params = wanted(value) or tensors.byte_params(value)
    made = tensors.add(value, sizes(value), range(rank), params)
    options = {"adjX": a.order == turned, "adjY": b.order == turned}
    tensors.file.operator("BATCH_MATMUL", [a.index, b.index], [made], **options)


def _computed(value: ir.Value) -> bool:
    """Whether a tensor is no constant, neither in float nor stored in integers."""
    return value.const_value is None and stored(value) is None


def _step(array: Array, largest: int) -> float:
    """The scale of a constant."""
    return float(np.float32(max(float(np.abs(array).max()), 1e-30) / largest))
