"""Sums of products: convolutions, linear layers, products of activations."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from edgenext.graph.ranges.bounds import UNIT, Array, Ball, Bounds, joined
from edgenext.graph.ranges.step import Step, Transfer

LARGEST_NORM = 2048
"""Rows and columns of a matrix whose largest singular value is computed."""


@dataclass(frozen=True)
class _Sums:
    """Of K sums: their least and greatest values, and the largest part of any."""

    low: Array
    high: Array
    magnitude: Array


def _weighted(weights: Array, low: Array, high: Array, padded: bool) -> _Sums:
    """Sums of weights × values in intervals, over all axes but the first; a pad is zero."""
    most = np.maximum(weights * low, weights * high)
    least = np.minimum(weights * low, weights * high)
    if padded:
        most, least = np.maximum(most, 0), np.minimum(least, 0)
    axes = tuple(range(1, weights.ndim))
    size = np.maximum(np.abs(most), np.abs(least)).sum(axes)
    return _Sums(least.sum(axes), most.sum(axes), size)


def _in_ball(weights: Array, ball: Ball, padded: bool) -> _Sums:
    """The same for vectors of a ball: K×M×taps weights, where each tap reads another vector."""
    channels = weights.shape[1]
    scale, shift, error = (
        np.broadcast_to(v, (channels,))[:, None] for v in (ball.scale, ball.shift, ball.error)
    )
    reach = ball.radius * np.sqrt(np.square(weights * scale).sum(1)).sum(1)
    error = (np.abs(weights) * error).sum((1, 2))
    centres = (weights * shift).sum(1)
    least, most = (np.minimum(centres, 0), np.maximum(centres, 0)) if padded else (centres, centres)
    size = reach + (np.abs(weights) * np.abs(shift)).sum((1, 2)) + error
    return _Sums(least.sum(1) - reach - error, most.sum(1) + reach + error, size)


def _smaller(a: _Sums, b: _Sums) -> _Sums:
    """What both say."""
    return _Sums(
        np.maximum(a.low, b.low),
        np.minimum(a.high, b.high),
        np.minimum(a.magnitude, b.magnitude),
    )


def _image(weights: Array, ball: Ball, bias: Array, rounding: Array) -> Ball | None:
    """The ball of K×M weights times the vectors of a ball, plus a bias."""
    rows, channels = weights.shape
    if max(rows, channels) > LARGEST_NORM:
        return None
    scale, shift, error = (
        np.broadcast_to(v, (channels,)) for v in (ball.scale, ball.shift, ball.error)
    )
    scaled = weights * scale
    gram = scaled.T @ scaled if channels < rows else scaled @ scaled.T
    norm = math.sqrt(max(float(np.linalg.eigvalsh(gram)[-1]), 0.0)) * (1 + 1e-6)
    return Ball(
        ball.axis,
        ball.radius * norm,
        np.ones(1),
        weights @ shift + bias,
        np.abs(weights) @ error + rounding,
    )


@dataclass(frozen=True)
class _Layer:
    """A linear layer: K×M×taps weights of M values, a bias, and whether the input is padded."""

    x: Bounds
    weights: Bounds
    matrix: Array
    low: Array
    high: Array
    bias: Array
    padded: bool
    axis: int
    """Of its output that has the K sums."""
    ball: bool = True
    """Whether a ball along the input's axis describes the M values of every tap."""


def _apply(step: Step, layer: _Layer) -> list[Bounds]:
    """The output of a layer, its accumulators noted."""
    matrix, x = layer.matrix, layer.x
    terms = matrix[0].size + 2
    sums = _weighted(matrix, layer.low, layer.high, layer.padded)
    ball = x.ball if layer.ball and x.ball and x.ball.axis == layer.axis else None
    if ball:
        sums = _smaller(sums, _in_ball(matrix, ball, layer.padded))
    magnitude = sums.magnitude + np.abs(layer.bias)
    if not _integer(step, layer):
        step.accumulates(float(magnitude.max(initial=0)), terms, factor=np.ones(1))
    rank = len(x.shape)
    place = [1] * rank
    place[layer.axis] = -1
    low, high = (v.reshape(place) for v in (sums.low + layer.bias, sums.high + layer.bias))
    (result,) = step.computed(low, high, magnitude.reshape(place), terms)
    image = None
    if ball and matrix.shape[2] == 1 and not layer.padded:
        slack = np.broadcast_to((result.high - high).max(), magnitude.shape)
        image = _image(matrix[:, :, 0], ball, layer.bias, slack)
    return [replace(result, ball=image)]


def _integer(step: Step, layer: _Layer) -> bool:
    """Whether integer kernels compute a layer; then its accumulator is noted."""
    x, w = layer.x.levels, layer.weights.levels
    if x is None or w is None:
        return False
    sizes = _as_rows(step, np.broadcast_to(w.size, layer.weights.shape))
    if w.scale.size not in (1, len(sizes)):
        return False
    unit = float(x.scale.max()) * np.broadcast_to(w.scale.reshape(-1), (len(sizes),))
    most = float(x.size.max()) * sizes.reshape(len(sizes), -1).sum(1)
    step.accumulates_levels(most + np.abs(layer.bias) / unit, unit, layer.axis)
    return True


def _as_rows(step: Step, weights: Array) -> Array:
    """Weights with their outputs first."""
    if step.node.op_type == "MatMul":
        return weights.T
    return weights if step.node.op_type == "Conv" or step.attributes.get("transB") else weights.T


def conv(step: Step) -> list[Bounds]:
    """A convolution: bounds are shared by all places of an image."""
    x, w = step.x, step.need(1)
    bias = None if w.value is None else _bias(step, len(w.value))
    if w.value is None or bias is None:
        return step.nothing()
    weights = w.value.astype(np.float64)
    outputs, inputs = weights.shape[:2]
    places = tuple(range(2, len(x.shape)))
    channels = (x.shape[1],)
    low = np.broadcast_to(joined(joined(x.low, places, True), (0,), True).reshape(-1), channels)
    high = np.broadcast_to(joined(joined(x.high, places, False), (0,), False).reshape(-1), channels)
    groups = int(step.attributes.get("group", 1))
    group = np.arange(outputs) // (outputs // groups)
    low, high = (v.reshape(groups, inputs)[group][:, :, None] for v in (low, high))
    pads = step.attributes.get("pads", [0])
    padded = any(pads) or step.attributes.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID")
    matrix = weights.reshape(outputs, inputs, -1)
    return _apply(step, _Layer(x, w, matrix, low, high, bias, padded, 1, groups == 1))


def _bias(step: Step, outputs: int) -> Array | None:
    """The bias of each output; None if it depends on the image."""
    bias = step.get(2)
    if bias is None:
        return np.zeros(outputs)
    if bias.value is None:
        return None
    return np.broadcast_to(bias.value.reshape(-1).astype(np.float64), (outputs,))


def _last_axis(x: Bounds) -> tuple[Array, Array]:
    """Bounds of the M values along the last axis, 1×M×1."""
    others = tuple(range(len(x.shape) - 1))
    width = (x.shape[-1],)
    low = np.broadcast_to(joined(x.low, others, True).reshape(-1), width)
    high = np.broadcast_to(joined(x.high, others, False).reshape(-1), width)
    return low[None, :, None], high[None, :, None]


def gemm(step: Step) -> list[Bounds]:
    """A linear layer on a matrix."""
    x, w = step.x, step.need(1)
    if w.value is None or w.value.ndim != 2 or step.attributes.get("transA"):
        return step.nothing()
    matrix = w.value.astype(np.float64) * float(step.attributes.get("alpha", 1.0))
    matrix = matrix if step.attributes.get("transB") else matrix.T
    bias = _bias(step, len(matrix))
    if bias is None:
        return step.nothing()
    bias = bias * float(step.attributes.get("beta", 1.0))
    layer = _Layer(x, w, matrix[:, :, None], *_last_axis(x), bias, False, len(x.shape) - 1)
    return _apply(step, layer)


def matmul(step: Step) -> list[Bounds]:
    """A linear layer on the last axis, or a product of two activations."""
    x, w = step.x, step.need(1)
    if w.value is not None and w.value.ndim == 2 and len(x.shape) >= 2:
        matrix = w.value.astype(np.float64).T
        layer = _Layer(
            x, w, matrix[:, :, None], *_last_axis(x), np.zeros(len(matrix)), False, len(x.shape) - 1
        )
        return _apply(step, layer)
    if min(len(x.shape), len(w.shape)) < 2:
        return step.nothing()
    return _product(step, x, w)


def _product(step: Step, a: Bounds, b: Bounds) -> list[Bounds]:
    """A product of two tensors that depend on the image."""
    inner, terms = a.shape[-1], a.shape[-1] + 2
    left, right = a.size, b.size
    if left.shape[-1] == 1 and right.shape[-2] == 1:
        magnitude = left * right * inner
    else:
        left = np.broadcast_to(left, (*left.shape[:-1], inner))
        right = np.broadcast_to(right, (*right.shape[:-2], inner, right.shape[-1]))
        magnitude = left @ right
    last, second = len(a.shape) - 1, len(b.shape) - 2
    if a.ball and b.ball and (a.ball.axis, b.ball.axis) == (last, second):
        magnitude = np.minimum(magnitude, _length(a.ball, inner) * _length(b.ball, inner))
    low, high = -magnitude, magnitude
    if a.simplex == last:
        # a row is not negative and adds up to at most 1: a mean of the columns, and of zero
        slack = 1 + 4 * terms * UNIT.get(a.dtype, 0.0)
        low = np.minimum(joined(b.low, (second,), True), 0) * slack
        high = np.maximum(joined(b.high, (second,), False), 0) * slack
        magnitude = np.maximum(np.abs(low), np.abs(high))
    step.accumulates(float(magnitude.max(initial=0)), terms, factor=np.ones(1))
    columns = b.transposed or ""
    facts = {"product": (a.root, columns)} if columns else {}
    return step.computed(low, high, magnitude, terms, **facts)


def _length(ball: Ball, count: int) -> float:
    """The greatest length of a vector of `count` values in a ball."""
    shift, error = (np.broadcast_to(v, (count,)) for v in (ball.shift, ball.error))
    reach = ball.radius * float(np.abs(ball.scale).max())
    return reach + float(np.linalg.norm(shift)) + float(np.linalg.norm(error))


TRANSFERS: dict[str, Transfer] = {"Conv": conv, "Gemm": gemm, "MatMul": matmul}
