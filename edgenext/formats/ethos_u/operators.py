"""Operators without weights in an integer file."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from edgenext.errors import ArtifactError
from edgenext.formats.ethos_u.norms import constant_of, sizes
from edgenext.formats.ethos_u.tensors import Tensors, numbers, readers_params, stored_constant
from edgenext.formats.tflite.writer import Array

UNIT = 2.0**-15
"""The scale of a softmax's output in 16 bits, as LiteRT has it."""

MAX_LEVEL = {np.int8: 127, np.int16: 32767}
"""The largest level of each type."""


def elementwise(tensors: Tensors, node: ir.Node) -> None:
    """A sum, difference or product: in 8 bits if operands and readers are, else in 16."""
    value, rank = node.outputs[0], len(sizes(node.outputs[0]))
    active = [v for v in node.inputs if v is not None and _computed(v)]
    params = readers_params(value) if not any(tensors[v].wide for v in active) else None
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
            return  # the sum would not change
        array = array.reshape((1,) * (rank - array.ndim) + array.shape).transpose(order)
        step = _step(array, MAX_LEVEL[dtype])
        levels = np.round(array / step).astype(dtype)
        name = f"{value.name}_{len(inputs)}"
        inputs.append(tensors.file.constant(name, levels, [step]))
    result = tensors.add(value, [sizes(value)[axis] for axis in order], order, params)
    options = {} if node.op_type == "Mul" else {"potScaleInt16": False}
    tensors.file.operator(node.op_type.upper(), inputs, [result], **options)


def look_up(tensors: Tensors, node: ir.Node) -> None:
    """An activation function in 8 bits: a table of 256 values."""
    x, value = tensors.bytes(node.inputs[0]), node.outputs[0]
    params = readers_params(value) or tensors.byte_params(value)
    result = tensors.add(value, x.shape, x.order, params)
    tensors.file.operator("GELU" if node.op_type == "Gelu" else "HARD_SWISH", [x.index], [result])


def magnitude(tensors: Tensors, node: ir.Node) -> None:
    """Absolute values, in 16 bits."""
    x = tensors.wide(node.inputs[0])
    result = tensors.add(node.outputs[0], x.shape, x.order, None)
    tensors.file.operator("ABS", [x.index], [result])


def inverse_root(tensors: Tensors, node: ir.Node) -> None:
    """x^−½ in 16 bits; its largest value is that of the first level above zero.

    Raises:
        ArtifactError: another power.
    """
    if not math.isclose(float(constant_of(node.inputs[1])), -0.5):
        raise ArtifactError(f"{node.name} has an exponent other than −½, which is not supported")
    x, value = tensors.wide(node.inputs[0]), node.outputs[0]
    low, high = tensors.range(value)
    tensors.set_range(value, low, min(high, x.scale**-0.5))
    result = tensors.add(value, x.shape, x.order, None)
    tensors.file.operator("RSQRT", [x.index], [result])


def mean(tensors: Tensors, node: ir.Node) -> None:
    """Means in 16 bits."""
    x, value = tensors.wide(node.inputs[0]), node.outputs[0]
    rank = len(x.shape)
    axes = sorted(x.order.index(int(a) % rank) for a in constant_of(node.inputs[1]))
    keep = bool(node.attributes["keepdims"].as_int())
    if keep and axes == [rank - 1] and rank > 2:  # over channels: the NPU needs points in one row
        points = math.prod(x.shape[:-1])
        flat = tensors.reshaped(x, (1, 1, points, x.shape[-1]))
        row = tensors.add(value, (1, 1, points, 1), range(4), None)
        tensors.file.operator("MEAN", [flat.index, tensors.file.integers(3)], [row], keepDims=True)
        tensors[value] = tensors.reshaped(row, (*x.shape[:-1], 1), x.order)
        return
    remaining = [i for i in range(rank) if keep or i not in axes]
    graph_axes = sorted(x.order[i] for i in remaining)
    shape = [1 if i in axes else x.shape[i] for i in remaining]
    order = [graph_axes.index(x.order[i]) for i in remaining]
    result = tensors.add(value, shape, order, None)
    inputs = [x.index, tensors.file.integers(*axes)]
    tensors.file.operator("MEAN", inputs, [result], keepDims=keep)


def softmax(tensors: Tensors, node: ir.Node) -> None:
    """A softmax over the last axis, in 16 bits."""
    x, value = tensors.arranged(tensors.wide(node.inputs[0])), node.outputs[0]
    result = tensors.file.activation(str(value.name), x.shape, np.int16, UNIT, 0, x.order)
    tensors[value] = result
    tensors.file.operator("SOFTMAX", [x.index], [result], beta=1.0)


def product(tensors: Tensors, node: ir.Node) -> None:
    """A product of two matrices, in 8 bits, because the NPU has no other."""
    a, b = (tensors.bytes(v) for v in node.inputs)
    rank, value = len(a.shape), node.outputs[0]
    transposed = (*range(rank - 2), rank - 1, rank - 2)
    a, b = (x if x.order == transposed else tensors.arranged(x) for x in (a, b))
    params = readers_params(value) or tensors.byte_params(value)
    result = tensors.add(value, sizes(value), range(rank), params)
    options = {"adjX": a.order == transposed, "adjY": b.order == transposed}
    tensors.file.operator("BATCH_MATMUL", [a.index, b.index], [result], **options)


def _computed(value: ir.Value) -> bool:
    """Whether a tensor is not a constant, in float or in integers."""
    return value.const_value is None and stored_constant(value) is None


def _step(array: Array, max_level: int) -> float:
    """The scale of a constant."""
    return float(np.float32(max(float(np.abs(array).max()), 1e-30) / max_level))
