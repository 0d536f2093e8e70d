"""Quantized tensors: every one has a range that its type, scale and zero point cannot leave."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from edgenext.graph.ranges.bounds import Array, Ball, Bounds, Levels, joined
from edgenext.graph.ranges.step import Step, Transfer

RANGES: dict[int, tuple[int, int]] = {
    TensorProto.UINT8: (0, 255),
    TensorProto.INT8: (-128, 127),
    TensorProto.UINT16: (0, 65535),
    TensorProto.INT16: (-32768, 32767),
    TensorProto.INT32: (-(2**31), 2**31 - 1),
    TensorProto.UINT4: (0, 15),
    TensorProto.INT4: (-8, 7),
}
"""Integer type → its first and last level."""

BITS: dict[int, int] = {TensorProto.UINT16: 16, TensorProto.INT16: 16}
"""Bits of the types that have more than 8."""


def _placed(step: Step, values: Bounds, rank: int) -> Array:
    """A scale or zero point so that it broadcasts to a tensor."""
    array = np.asarray(values.value, np.float64)
    if array.size == 1:
        return array.reshape(())
    shape = [1] * rank
    shape[int(step.attributes.get("axis", 1)) % rank] = -1
    return array.reshape(shape)


def _parameters(step: Step, rank: int) -> tuple[Array, Array] | None:
    """Scale and zero point; None if they are computed or per block."""
    scale, zero = step.need(1), step.get(2)
    if scale.value is None or (zero is not None and zero.value is None):
        return None
    if step.attributes.get("block_size") or scale.value.ndim > 1:
        return None
    return _placed(step, scale, rank), _placed(step, zero, rank) if zero else np.zeros(())


def quantize(step: Step) -> list[Bounds]:
    """Rounds to levels and clips to the type."""
    x = step.x
    parameters = _parameters(step, len(x.shape))
    output = step.outputs[0]
    if parameters is None or output.dtype not in RANGES:
        return step.nothing()
    scale, zero = parameters
    first, last = RANGES[output.dtype]
    with np.errstate(invalid="ignore"):
        # one level more: a division that is rounded may come out at the next one
        low, high = np.floor(x.low / scale) + zero, np.ceil(x.high / scale) + zero
    low, high = np.clip(low, first, last), np.clip(high, first, last)
    ball = _rounded_ball(x, scale, (first - zero) * scale, (last - zero) * scale)
    return [step.out(low, high, ball=ball, origin="")]


def _rounded_ball(x: Bounds, scale: Array, least: Array, most: Array) -> Ball | None:
    """The ball of the values that the levels stand for.

    Clipping moves no value away from a centre inside the range; rounding moves each by half a step.
    """
    if x.ball is None or scale.size != 1:
        return None
    if (x.ball.shift < least).any() or (x.ball.shift > most).any():
        return None
    return x.ball.widened(float(scale.reshape(())) * 0.51)


def dequantize(step: Step) -> list[Bounds]:
    """The numbers that levels stand for."""
    x = step.x
    rank = len(x.shape)
    parameters = _parameters(step, rank)
    if parameters is None or x.dtype not in RANGES:
        return step.nothing()
    scale, zero = parameters
    low, high = (x.low - zero) * scale, (x.high - zero) * scale
    sizes = np.maximum(np.abs(x.low), np.abs(x.high))
    sizes = np.maximum(sizes, np.maximum(np.abs(x.low - zero), np.abs(x.high - zero)))
    bits = BITS.get(x.dtype, 8)
    levels = Levels(sizes, np.asarray(scale).reshape(-1), bits)
    (result,) = step.computed(low, high)
    return [replace(result, levels=levels, ball=x.ball)]


def dequantized(step: Step, value: NDArray[Any]) -> Bounds:
    """A stored constant, dequantized: its content and its levels."""
    (result,) = dequantize(step)
    parameters = _parameters(step, value.ndim)
    assert parameters is not None  # noqa: S101 - the caller has looked
    scale, zero = parameters
    levels = value.astype(np.float64)
    size = np.maximum(np.abs(levels), np.abs(levels - zero))
    content = (levels - zero) * scale
    return replace(result, value=content, levels=Levels(size, np.asarray(scale).reshape(-1), 8))


def dynamic_quantize(step: Step) -> list[Bounds]:
    """Levels of 8 bits, with a scale and a zero point from the tensor's own range."""
    x = step.x
    low, high = min(float(x.low.min()), 0.0), max(float(x.high.max()), 0.0)
    rank = (1,) * len(x.shape)
    levels = step.out(np.zeros(rank), np.full(rank, 255.0), 0)
    scale = step.out(np.zeros(()), np.asarray((high - low) / 255 * 1.001), 1)
    zero = step.out(np.zeros(()), np.asarray(255.0), 2)
    return [levels, scale, zero]


def _integer_sums(x: Bounds, zero: Bounds | None, w: Bounds, axis: int) -> Array | None:
    """The largest int32 sum of each output: weights × (levels − zero point), or either alone."""
    if w.value is None:
        return None
    weights = np.abs(w.value.astype(np.float64))
    most = float(max(x.size.max(), 255.0 if zero is not None else 0.0))
    order = (axis, *(a for a in range(weights.ndim) if a != axis))
    return np.asarray(most * weights.transpose(order).reshape(weights.shape[axis], -1).sum(1))


def _integer_layer(step: Step, axis: int) -> list[Bounds]:
    """A convolution or product in integers, whose output is the accumulator itself."""
    x, w = step.x, step.need(1)
    sums = _integer_sums(x, step.get(2), w, axis)
    if sums is None:
        return step.nothing()
    channels = 1 if step.node.op_type == "ConvInteger" else len(x.shape) - 1
    step.accumulates_levels(sums, np.ones(1), channels)
    place = [1] * len(x.shape)
    place[channels] = -1
    low, high = -sums.reshape(place), sums.reshape(place)
    return [step.out(low, high)]


def conv_integer(step: Step) -> list[Bounds]:
    """A convolution of levels."""
    return _integer_layer(step, 0)


def matmul_integer(step: Step) -> list[Bounds]:
    """A product of levels with constant ones."""
    w = step.need(1)
    return _integer_layer(step, w.value.ndim - 1) if w.value is not None else step.nothing()


def _qlinear(step: Step, axis: int, bias: Bounds | None) -> list[Bounds]:
    """A layer that reads and writes levels."""
    x, w, output = step.x, step.need(3), step.outputs[0]
    sums = _integer_sums(x, step.get(2), w, axis)
    if sums is None or output.dtype not in RANGES:
        return step.nothing()
    if bias is not None:
        sums = sums + np.broadcast_to(joined(bias.size, (0,), False), sums.shape)
    step.accumulates_levels(sums, None, 1)
    first, last = RANGES[output.dtype]
    ones = (1,) * len(x.shape)
    return [step.out(np.full(ones, float(first)), np.full(ones, float(last)))]


def qlinear_conv(step: Step) -> list[Bounds]:
    """A quantized convolution as one operator."""
    return _qlinear(step, 0, step.get(8))


def qlinear_matmul(step: Step) -> list[Bounds]:
    """A quantized product as one operator."""
    w = step.need(3)
    return _qlinear(step, w.value.ndim - 1, None) if w.value is not None else step.nothing()


TRANSFERS: dict[str, Transfer] = {
    "QuantizeLinear": quantize,
    "DequantizeLinear": dequantize,
    "DynamicQuantizeLinear": dynamic_quantize,
    "ConvInteger": conv_integer,
    "MatMulInteger": matmul_integer,
    "QLinearConv": qlinear_conv,
    "QLinearMatMul": qlinear_matmul,
}
