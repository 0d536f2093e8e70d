"""Activations: functions of one value, also where they are written out in several operators."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from edgenext.graph.ranges.bounds import TINY, UNIT, Array, Ball, Bounds, Gate
from edgenext.graph.ranges.step import Step, Transfer

ERF_LOWEST, SIGMOID_LOWEST = -0.5316, -1.2785
"""Where t·(1 + erf(t)) and t·sigmoid(t) are least."""


SLOPES = {"erf": 1.13, "sigmoid": 1.1, "hardswish": 1.5, "relu": 1.0}
"""The steepest slope of GELU, x·sigmoid(a·x), HardSwish and ReLU."""


STEEP = 8
"""Rounding units by which an exponential function may be off."""


def rounding_error(bounds: Bounds) -> float:
    """What rounding to its type adds to any value of a tensor."""
    return bounds.most * 2 * UNIT.get(bounds.dtype, 0.0) + TINY.get(bounds.dtype, 0.0)


def gated(step: Step, x: Bounds, g: Bounds) -> list[Bounds] | None:
    """X · gate(x): GELU, written out, or x·sigmoid(a·x)."""
    gate = g.gate
    root, factor = x.linear or (x.root, 1.0)
    if gate is None or gate.kind == "erf alone" or root != gate.root or gate.a <= 0 or factor <= 0:
        return None
    return _unimodal(step, x, gate, factor * gate.scale, factor)


def _unimodal(step: Step, x: Bounds, gate: Gate, scale: float, unit: float) -> list[Bounds]:
    """Scale · t · G(a·t) with t = x / unit: it falls to its least value and then rises."""
    lowest = (ERF_LOWEST if gate.kind == "erf" else SIGMOID_LOWEST) / gate.a
    low, high = x.low / unit, x.high / unit
    at_low, at_high = (scale * _gate_product(v, gate) for v in (low, high))
    least = scale * _gate_product(np.clip(lowest, low, high), gate)
    # the minimiser is known to 4 digits: the value there to 8
    least = least - np.abs(least) * 1e-6
    steep = scale * np.maximum(np.abs(low), np.abs(high)) * STEEP * UNIT.get(x.dtype, 0.0)
    (result,) = step.computed(least - steep, np.maximum(at_low, at_high) + steep)
    slope = scale * (2.0 if gate.kind == "erf" else 1.0) * SLOPES[gate.kind] / unit
    if x.ball is not None:
        count = x.shape[x.ball.axis]
        parts = [np.broadcast_to(v, (count,)) for v in (x.ball.scale, x.ball.shift, x.ball.error)]
        centre = scale * _gate_product(parts[1] / unit, gate)
        radius = x.ball.radius * slope * float(np.abs(parts[0]).max())
        error = parts[2] * slope + float(np.max(steep)) + rounding_error(result)
        ball = Ball(x.ball.axis, radius, np.ones(1), centre, error)
        result = replace(result, ball=ball)
    return [result]


def _gate_product(t: Array, gate: Gate) -> Array:
    with np.errstate(invalid="ignore", over="ignore"):
        if gate.kind == "erf":
            value = t * (1 + _erf(gate.a * t))
        else:
            value = t / (1 + np.exp(-np.clip(gate.a * t, -700, 700)))
    return np.where(np.isneginf(t), 0.0, value)


_erf = np.vectorize(math.erf, otypes=[np.float64])


def monotone(step: Step, function: Callable[[Array], Array]) -> list[Bounds]:
    """A function that never falls."""
    with np.errstate(over="ignore"):
        return step.computed(function(step.x.low), function(step.x.high), terms=STEEP)


def erf(step: Step) -> list[Bounds]:
    """The error function."""
    x = step.x
    root, a = x.linear or (x.root, 1.0)
    return step.computed(
        _erf(x.low), _erf(x.high), 1.0, STEEP, gate=Gate(root, "erf alone", a, 1.0)
    )


def _logistic(t: Array) -> Array:
    return 1 / (1 + np.exp(-np.clip(t, -700, 700)))


def sigmoid(step: Step) -> list[Bounds]:
    """The logistic function."""
    x = step.x
    root, a = x.linear or (x.root, 1.0)
    gate = Gate(root, "sigmoid", a, 1.0)
    return step.computed(_logistic(x.low), _logistic(x.high), 1.0, STEEP, gate=gate)


def gelu(step: Step) -> list[Bounds]:
    """GELU as one operator, exact or with tanh; the two differ by less than 0.001."""
    gate = Gate(step.x.root, "erf", 1 / math.sqrt(2), 0.5)
    (result,) = _unimodal(step, step.x, gate, 0.5, 1.0)
    if step.attributes.get("approximate") == b"tanh":
        ball = None if result.ball is None else result.ball.widened(1e-3)
        result = replace(result, low=result.low - 1e-3, high=result.high + 1e-3, ball=ball)
    return [result]


def hard_swish(step: Step) -> list[Bounds]:
    """X · min(max(x / 6 + 1/2, 0), 1): least at −3/2."""
    x = step.x

    def value(t: Array) -> Array:
        with np.errstate(invalid="ignore"):
            return np.where(t <= -3, 0.0, t * np.clip(t / 6 + 0.5, 0, 1))

    least = value(np.clip(-1.5, x.low, x.high))
    (result,) = step.computed(least, np.maximum(value(x.low), value(x.high)), x.size, STEEP)
    return [replace(result, ball=_contracted(x, result, value, SLOPES["hardswish"]))]


def relu(step: Step) -> list[Bounds]:
    """The greater of a value and zero."""
    x = step.x

    def value(t: Array) -> Array:
        return np.maximum(t, 0)

    (result,) = step.computed(value(x.low), value(x.high))
    return [replace(result, ball=_contracted(x, result, value, SLOPES["relu"]))]


def _contracted(
    x: Bounds, result: Bounds, function: Callable[[Array], Array], slope: float
) -> Ball | None:
    """The ball behind a function that is nowhere steeper than `slope`."""
    if x.ball is None:
        return None
    ball, error = x.ball, x.ball.error * slope + rounding_error(result)
    radius = ball.radius * slope * float(np.abs(ball.scale).max())
    return Ball(ball.axis, radius, np.ones(1), function(ball.shift), error)


def hard_sigmoid(step: Step) -> list[Bounds]:
    """min(max(alpha·x + beta, 0), 1)."""
    alpha, beta = step.attributes.get("alpha", 0.2), step.attributes.get("beta", 0.5)
    return monotone(step, lambda t: np.clip(alpha * t + beta, 0, 1))


TRANSFERS: dict[str, Transfer] = {
    "Erf": erf,
    "Sigmoid": sigmoid,
    "Gelu": gelu,
    "HardSwish": hard_swish,
    "HardSigmoid": hard_sigmoid,
    "Relu": relu,
    "Tanh": partial(monotone, function=np.tanh),
    "Exp": partial(monotone, function=np.exp),
    "Floor": partial(monotone, function=np.floor),
}
