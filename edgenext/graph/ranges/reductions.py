"""Means, sums, lengths, norms and softmax, and the sums inside them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from onnx import TensorProto

from edgenext.graph.ranges.bounds import (
    SUMS,
    TINY,
    UNIT,
    Array,
    Axes,
    Ball,
    Bounds,
    NormOf,
    joined,
)
from edgenext.graph.ranges.step import Step, Transfer

NORM_SLACK = 1.01
"""How far a runtime's LayerNormalization may be above √C: its variance is rounded, too."""


def _count(shape: tuple[int, ...], axes: Axes) -> int:
    return math.prod(shape[a] for a in axes)


def _squeezed(step: Step, low: Array, high: Array, axes: Axes) -> tuple[Array, Array]:
    """Without the reduced axes, unless they are kept."""
    if step.attributes.get("keepdims", 1):
        return low, high
    return low.squeeze(axes), high.squeeze(axes)


def _total(x: Array, shape: tuple[int, ...], axes: Axes) -> Array:
    """Sums over axes; a shared bound counts for each value it is shared by."""
    full = [shape[a] if a in axes else x.shape[a] for a in range(x.ndim)]
    repeated = math.prod(n // x.shape[a] for a, n in enumerate(full) if a in axes)
    return np.asarray(x.sum(axes, keepdims=True) * repeated)


def mean(step: Step) -> list[Bounds]:
    """A mean over axes, whose sum is an accumulator."""
    x, axes = step.x, step.axes()
    n = _count(x.shape, axes)
    return _sum(step, x, axes, 1 / n, _mean_square(x, axes, 1 / n, step))


def total(step: Step) -> list[Bounds]:
    """A sum over axes."""
    x, axes = step.x, step.axes()
    return _sum(step, x, axes, 1.0, _mean_square(x, axes, 1.0, step))


def _sum(step: Step, x: Bounds, axes: Axes, factor: float, norm: NormOf | None) -> list[Bounds]:
    n = _count(x.shape, axes)
    size = _total(x.size, x.shape, axes)
    if x.ball and axes == (x.ball.axis,):
        ball = x.ball
        parts = [np.broadcast_to(v, (n,)) for v in (ball.scale, ball.shift, ball.error)]
        reach = ball.radius * float(np.linalg.norm(parts[0]))
        size = np.minimum(size, reach + float(np.abs(parts[1]).sum() + parts[2].sum()))
    step.accumulates(float(size.max(initial=0)), n, factor=np.full(1, 1 / factor))
    low, high = (_total(v, x.shape, axes) for v in (x.low, x.high))
    low, high = np.maximum(low, -size), np.minimum(high, size)
    ends = _squeezed(step, low * factor, high * factor, axes)
    magnitude = _squeezed(step, size * factor, size, axes)[0]
    (result,) = step.computed(*ends, magnitude, n + 1)
    if norm is not None or (x.low >= 0).all():
        result = replace(result, low=np.maximum(result.low, 0), norm=norm)
    return [result]


def _mean_square(x: Bounds, axes: Axes, factor: float, step: Step) -> NormOf | None:
    """The mean or sum of squares: the square of a length, times the factor."""
    if not x.square or not step.attributes.get("keepdims", 1):
        return None
    n = _count(x.shape, axes)
    unit, tiny = UNIT.get(x.dtype, 0.0), TINY.get(x.dtype, 0.0)
    scale = factor * (1 - (n + 4) * SUMS - 8 * unit)
    return NormOf(x.square, axes, scale, 2, factor * n * tiny + tiny)


def length(step: Step) -> list[Bounds]:
    """The length of vectors, whose sum of squares is an accumulator."""
    x, axes = step.x, step.axes()
    n = _count(x.shape, axes)
    squares = _squares(x, axes)
    step.accumulates(float(squares.max(initial=0)), n, factor=np.ones(1), power=2)
    high = np.sqrt(squares)
    low = np.zeros_like(high)
    low, high = _squeezed(step, low, high, axes)
    (result,) = step.computed(low, high, high, n + 4)
    unit, tiny = UNIT.get(x.dtype, 0.0), TINY.get(x.dtype, 0.0)
    norm = None
    if step.attributes.get("keepdims", 1):
        factor = 1 - (n + 4) * SUMS - 8 * unit
        norm = NormOf(x.root, axes, factor, 1, math.sqrt(n * tiny) + tiny)
    return [replace(result, low=np.maximum(result.low, 0), norm=norm)]


def square_sum(step: Step) -> list[Bounds]:
    """The sum of squares."""
    x, axes = step.x, step.axes()
    n = _count(x.shape, axes)
    high = _squares(x, axes)
    step.accumulates(float(high.max(initial=0)), n, factor=np.ones(1))
    low, high = _squeezed(step, np.zeros_like(high), high, axes)
    (result,) = step.computed(low, high, high, n + 2)
    squared = replace(x, square=x.root)
    norm = _mean_square(squared, axes, 1.0, step)
    return [replace(result, low=np.maximum(result.low, 0), norm=norm)]


def _squares(x: Bounds, axes: Axes) -> Array:
    """The greatest sum of squares over axes."""
    squares = _total(np.square(x.size), x.shape, axes)
    if x.ball and axes == (x.ball.axis,):
        count = x.shape[x.ball.axis]
        shift, error = (np.broadcast_to(v, (count,)) for v in (x.ball.shift, x.ball.error))
        reach = x.ball.radius * float(np.abs(x.ball.scale).max())
        reach += float(np.linalg.norm(shift) + np.linalg.norm(error))
        squares = np.minimum(squares, reach**2)
    return np.asarray(squares)


def greatest(step: Step) -> list[Bounds]:
    """The greatest value along axes."""
    axes = step.axes()
    low, high = joined(step.x.low, axes, False), joined(step.x.high, axes, False)
    return step.computed(*_squeezed(step, low, high, axes))


def least(step: Step) -> list[Bounds]:
    """The least value along axes."""
    axes = step.axes()
    low, high = joined(step.x.low, axes, True), joined(step.x.high, axes, True)
    return step.computed(*_squeezed(step, low, high, axes))


def pooled(step: Step) -> list[Bounds]:
    """The mean over an image."""
    x = step.x
    return _sum(step, x, tuple(range(2, len(x.shape))), 1 / max(math.prod(x.shape[2:]), 1), None)


def softmax(step: Step) -> list[Bounds]:
    """Shares that are not negative and add up to 1."""
    axis = step.axis(-1)
    ones = (1,) * len(step.x.shape)
    (result,) = step.computed(np.zeros(ones), np.ones(ones))
    spread = step.x.high.max() - step.x.low.min()
    step.accumulates(max(float(step.x.shape[axis]), float(spread)), step.x.shape[axis])
    slack = 1 + 4 * UNIT.get(result.dtype, 0.0)
    return [replace(result, low=np.zeros(ones), high=np.full(ones, slack), simplex=axis)]


def layer_norm(step: Step) -> list[Bounds]:
    """A normalised vector has the length √C at most, before its weight and bias.

    Its mean and its sum of squares are computed in the operator's `stash_type`, float32 unless the
    file says otherwise.
    """
    x, weight, bias = step.x, step.get(1), step.get(2)
    axis, rank = step.axis(-1), len(step.x.shape)
    axes = tuple(range(axis, rank))
    n = _count(x.shape, axes)
    stash = int(step.attributes.get("stash_type", TensorProto.FLOAT))
    sums = max(_total(x.size, x.shape, axes).max(initial=0), _squares(x, axes).max(initial=0))
    step.accumulates(float(sums), n, stash)
    if any(v is not None and v.value is None for v in (weight, bias)):
        return step.nothing()
    reach = math.sqrt(n) * NORM_SLACK
    gamma, beta = (
        np.asarray(default if v is None else v.value, np.float64)
        for v, default in ((weight, 1.0), (bias, 0.0))
    )
    low, high = beta - reach * np.abs(gamma), beta + reach * np.abs(gamma)
    shape = (1,) * (rank - low.ndim)
    results = step.computed(low.reshape(shape + low.shape), high.reshape(shape + high.shape))
    if len(axes) == 1:
        error = float(results[0].high.max() - high.max())
        ball = Ball(axis, reach, gamma.reshape(-1), beta.reshape(-1), np.full(1, error))
        results = [replace(results[0], ball=ball)]
    return results


def batch_norm(step: Step) -> list[Bounds]:
    """A weight and a bias for each channel, from stored statistics."""
    values = [step.need(i).value for i in range(1, 5)]
    if any(v is None for v in values):
        return step.nothing()
    weight, bias, average, variance = (np.asarray(v, np.float64) for v in values)
    factor = weight / np.sqrt(variance + float(step.attributes.get("epsilon", 1e-5)))
    place = (1, -1) + (1,) * (len(step.x.shape) - 2)
    factor, offset = factor.reshape(place), (bias - average * factor).reshape(place)
    ends = step.x.low * factor, step.x.high * factor
    magnitude = step.x.size * np.abs(factor) + np.abs(offset)
    return step.computed(np.minimum(*ends) + offset, np.maximum(*ends) + offset, magnitude, 4)


TRANSFERS: dict[str, Transfer] = {
    "ReduceMean": mean,
    "ReduceSum": total,
    "ReduceL2": length,
    "ReduceSumSquare": square_sum,
    "ReduceMax": greatest,
    "ReduceMin": least,
    "GlobalAveragePool": pooled,
    "Softmax": softmax,
    "LayerNormalization": layer_norm,
    "BatchNormalization": batch_norm,
}
