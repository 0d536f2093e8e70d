"""Operators that compute each value from one value of each input."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from edgenext.graph.ranges.activations import STEEP, gated, rounding_error
from edgenext.graph.ranges.bounds import (
    TINY,
    UNIT,
    Array,
    Ball,
    Bounds,
    Gate,
    NormOf,
    OverNorms,
)
from edgenext.graph.ranges.step import Step, Transfer

MOST_TERMS = 1 << 16
"""Products in a sum of which each may underflow."""


def vector(factor: Bounds, axis: int, rank: int) -> Array | None:
    """A constant that varies along one axis of a tensor at most; None if it does otherwise."""
    if factor.value is None:
        return None
    values = factor.value.astype(np.float64)
    if values.size == 1:
        return values.reshape(1)
    own = axis - (rank - values.ndim)
    if own < 0 or values.shape[own] != values.size:
        return None
    return values.reshape(-1)


def _constant_and_other(step: Step) -> tuple[Bounds, Bounds] | None:
    """The operand that is constant, and the one that is not."""
    a, b = step.x, step.need(1)
    if (a.value is None) == (b.value is None):
        return None
    return (b, a) if a.value is None else (a, b)


def _products(a: Bounds, b: Bounds) -> tuple[Array, Array]:
    with np.errstate(invalid="ignore"):
        corners = [np.nan_to_num(x * y, nan=0.0, posinf=np.inf, neginf=-np.inf)
                   for x in (a.low, a.high) for y in (b.low, b.high)]  # fmt: skip
    same = np.broadcast_arrays(*corners)
    return np.minimum.reduce(same), np.maximum.reduce(same)


def add(step: Step, sign: float = 1.0) -> list[Bounds]:
    """A sum, or a difference."""
    a, b = step.x, step.need(1)
    ends = (b.low, b.high) if sign > 0 else (-b.high, -b.low)
    low, high = a.low + ends[0], a.high + ends[1]
    (result,) = step.computed(low, high)
    if pair := _constant_and_other(step):
        offset, x = pair
        if sign < 0 and offset is a:
            return [result]
        result = replace(
            result,
            ball=_shifted(offset, x, sign, result),
            gate=_one_plus(offset, x, sign),
            norm=_more(x.norm, result) if sign > 0 and offset.low.min() >= 0 else None,
        )
    return [result]


def _shifted(offset: Bounds, x: Bounds, sign: float, result: Bounds) -> Ball | None:
    if x.ball is None or len(result.shape) != len(x.shape):
        return None
    shift = vector(offset, x.ball.axis, len(x.shape))
    return None if shift is None else x.ball.plus(sign * shift).widened(rounding_error(result))


def _one_plus(offset: Bounds, x: Bounds, sign: float) -> Gate | None:
    """1 + erf(a·x): the gate of GELU, complete."""
    if x.gate is None or x.gate.kind != "erf alone" or offset.scalar is None:
        return None
    return replace(x.gate, kind="erf") if sign * offset.scalar == x.gate.scale else None


def _more(norm: NormOf | None, result: Bounds) -> NormOf | None:
    """A norm to which something not negative was added, or of which the greater was taken."""
    if norm is None:
        return None
    least = float(result.low.min())
    factor = norm.factor * (1 - 4 * UNIT.get(result.dtype, 0.0))
    if least > 0:
        # v ≥ least and v ≥ f·‖x‖ − delta: so v · (1 + delta / least) ≥ f·‖x‖
        return replace(norm, factor=factor / (1 + norm.delta / least), delta=0.0)
    return replace(norm, factor=factor, delta=norm.delta + TINY.get(result.dtype, 0.0))


def mul(step: Step) -> list[Bounds]:
    """A product."""
    a, b = step.x, step.need(1)
    if a.root == b.root:
        return _squared(step, a)
    if activation := gated(step, a, b) or gated(step, b, a):
        return activation
    if normal := _normalised_product(step, a, b) or _normalised_product(step, b, a):
        return normal
    (result,) = step.computed(*_products(a, b))
    if pair := _constant_and_other(step):
        factor, x = pair
        result = replace(result, **_multiples(factor, x, result, reciprocal=False))
    return [result]


def _multiples(factor: Bounds, x: Bounds, result: Bounds, *, reciprocal: bool) -> dict[str, Any]:
    """The facts that survive a product with a constant, or a division by it."""
    facts: dict[str, Any] = {}
    if x.ball is not None and len(result.shape) == len(x.shape):
        values = vector(factor, x.ball.axis, len(x.shape))
        if values is not None and values.all():
            values = 1 / values if reciprocal else values
            facts["ball"] = x.ball.times(values).widened(rounding_error(result))
    scalar = factor.scalar
    if not scalar:
        return facts
    scalar = 1 / scalar if reciprocal else scalar
    root, a = x.linear or (x.root, 1.0)
    facts["linear"] = (root, a * scalar)
    if x.gate is not None and scalar > 0:
        facts["gate"] = replace(x.gate, scale=x.gate.scale * scalar)
    if x.norm is not None and scalar > 0:
        facts["norm"] = _scaled(x.norm, scalar, result)
    if x.over is not None:
        facts["over"] = replace(x.over, limit=x.over.limit * abs(scalar) * 1.01)
    return facts


def _scaled(norm: NormOf, factor: float, result: Bounds) -> NormOf:
    """A norm times a positive number, rounded."""
    tiny, unit = TINY.get(result.dtype, 0.0), UNIT.get(result.dtype, 0.0)
    return replace(
        norm, factor=norm.factor * factor * (1 - 4 * unit), delta=norm.delta * factor + tiny
    )


def _squared(step: Step, x: Bounds) -> list[Bounds]:
    high = np.square(x.size)
    low = np.where((x.low <= 0) & (x.high >= 0), 0.0, np.minimum(x.low**2, x.high**2))
    (result,) = step.computed(low, high)
    result = replace(result, low=np.maximum(result.low, 0), square=x.root)
    if x.norm is not None and x.norm.power == 1:
        unit, tiny = UNIT.get(x.dtype, 0.0), TINY.get(x.dtype, 0.0)
        # v ≥ f·n − d, so v² ≥ f²n²·(1 − t) − d²/t for every t; and products may vanish
        t = 1e-3
        factor = x.norm.factor**2 * (1 - t) * (1 - 4 * unit)
        norm = replace(x.norm, factor=factor, power=2, delta=x.norm.delta**2 / t + tiny)
        result = replace(result, norm=norm)
    return [result]


def _normalised_product(step: Step, product: Bounds, over: Bounds) -> list[Bounds] | None:
    """Row · column, divided by the lengths of both: at most 1 by Cauchy and Schwarz."""
    if product.product is None or over.over is None:
        return None
    if product.product != (over.over.rows, over.over.columns):
        return None
    limit = over.over.limit * (1.01 + 4 * UNIT.get(product.dtype, 0.0))
    # what underflows in either factor is multiplied by the other
    tiny = TINY.get(product.dtype, 0.0) * MOST_TERMS
    limit += tiny * over.most + TINY.get(over.dtype, 0.0) * product.most
    ends = np.full((1,) * len(product.shape), limit)
    return step.computed(-ends, ends)


def div(step: Step) -> list[Bounds]:
    """A quotient."""
    a, b = step.x, step.need(1)
    if normal := _normalised(step, a, b):
        return normal
    with np.errstate(divide="ignore", invalid="ignore"):
        usable = (b.low > 0) | (b.high < 0)
        least = np.where(usable, 1 / np.where(usable, b.high, 1), -np.inf)
        most = np.where(usable, 1 / np.where(usable, b.low, 1), np.inf)
    (result,) = step.computed(*_products(a, replace(b, low=least, high=most)))
    if b.norm is not None:
        result = replace(result, over=_over(a, b, result))
    if b.value is not None and a.value is None:
        result = replace(result, **_multiples(b, a, result, reciprocal=True))
    return [result]


def _norm_below(b: Bounds) -> float | None:
    """The factor f of v ≥ f·‖x‖, if nothing may be lost to underflow."""
    norm = b.norm
    if norm is None or norm.power != 1:
        return None
    least = float(b.low.min())
    if norm.delta and least <= 0:
        return None
    return norm.factor / (1 + (norm.delta / least if norm.delta else 0.0))


def _over(a: Bounds, b: Bounds, result: Bounds) -> OverNorms | None:
    """A number, or what is already divided by a norm, divided by another norm."""
    norm, factor = b.norm, _norm_below(b)
    if norm is None or factor is None or norm.axes != (len(result.shape) - 1,):
        return None
    limit = (a.over.limit if a.over else a.most) / factor * (1 + 8 * UNIT.get(result.dtype, 0.0))
    rows, columns = (a.over.rows, a.over.columns) if a.over else ("", "")
    if norm.swapped:
        return None if columns else OverNorms(limit, rows, norm.root)
    return None if rows else OverNorms(limit, norm.root, columns)


def _normalised(step: Step, a: Bounds, b: Bounds) -> list[Bounds] | None:
    """A tensor divided by its own length, or by something greater."""
    factor = _norm_below(b)
    if factor is None or b.norm is None or b.norm.root != a.root or b.norm.swapped:
        return None
    if len(b.norm.axes) != 1:
        return None
    radius = 1 / factor * (1 + 16 * UNIT.get(a.dtype, 0.0))
    ends = np.full((1,) * len(a.shape), radius)
    (result,) = step.computed(-ends, ends)
    zero = np.zeros(1)
    ball = Ball(b.norm.axes[0], radius, np.ones(1), zero, zero + rounding_error(result))
    return [replace(result, ball=ball)]


def power(step: Step) -> list[Bounds]:
    """A square, a square root, or a power of values that are not negative."""
    exponent = step.need(1).scalar
    if exponent == 2:
        return _squared(step, step.x)
    if exponent == 0.5:
        return sqrt(step)
    if exponent is None or (step.x.low < 0).any() or exponent < 0:
        return step.nothing()
    return step.computed(step.x.low**exponent, step.x.high**exponent, terms=STEEP)


def sqrt(step: Step) -> list[Bounds]:
    """A square root; of a negative value it would be NaN."""
    x = step.x
    if (x.low < 0).any():
        return step.nothing()
    (result,) = step.computed(np.sqrt(x.low), np.sqrt(x.high))
    result = replace(result, low=np.maximum(result.low, 0))
    if x.norm is not None and x.norm.power == 2:
        factor = math.sqrt(x.norm.factor) * (1 - 4 * UNIT.get(x.dtype, 0.0))
        norm = replace(x.norm, factor=factor, power=1, delta=math.sqrt(x.norm.delta))
        result = replace(result, norm=norm)
    return [result]


def clip(step: Step) -> list[Bounds]:
    """Values limited from below, above or both."""
    x = step.x
    ends = [step.get(i) for i in (1, 2)]
    limits = (step.attributes.get("min"), step.attributes.get("max"))
    least, most = (
        float(e.scalar) if e is not None and e.scalar is not None else g
        for e, g in zip(ends, limits, strict=True)
    )
    low, high = (np.clip(v, least, most) for v in (x.low, x.high))
    (result,) = step.computed(low, high)
    # rounding moves nothing across a limit that the type can hold
    if least is not None:
        floor = max(least - UNIT.get(x.dtype, 0.0) * abs(least) - TINY.get(x.dtype, 0.0), 0.0)
        result = replace(result, low=np.maximum(result.low, floor if least >= 0 else -np.inf))
    return [replace(result, norm=_more(x.norm, result) if most is None else None)]


def greatest(step: Step) -> list[Bounds]:
    """The greatest of several tensors."""
    values = [b for b in step.inputs if b is not None]
    low = np.maximum.reduce(np.broadcast_arrays(*(b.low for b in values)))
    high = np.maximum.reduce(np.broadcast_arrays(*(b.high for b in values)))
    (result,) = step.computed(low, high)
    norms = [b.norm for b in values if b.norm is not None]
    return [replace(result, norm=_more(norms[0], result) if len(norms) == 1 else None)]


def least(step: Step) -> list[Bounds]:
    """The least of several tensors."""
    values = [b for b in step.inputs if b is not None]
    low = np.minimum.reduce(np.broadcast_arrays(*(b.low for b in values)))
    high = np.minimum.reduce(np.broadcast_arrays(*(b.high for b in values)))
    return step.computed(low, high)


def negative(step: Step) -> list[Bounds]:
    """A change of sign."""
    return step.computed(-step.x.high, -step.x.low)


def absolute(step: Step) -> list[Bounds]:
    """The absolute value."""
    x = step.x
    low = np.where((x.low <= 0) & (x.high >= 0), 0.0, np.minimum(np.abs(x.low), np.abs(x.high)))
    return step.computed(low, x.size)


def cast(step: Step) -> list[Bounds]:
    """Another type: facts survive, unless values may be rounded away."""
    x, dtype = step.x, step.outputs[0].dtype
    unit, before = UNIT.get(dtype), UNIT.get(x.dtype)
    if unit is None:
        return step.same()
    (result,) = step.computed(x.low, x.high)
    if before is None:
        return [result]
    if unit <= before:
        keep = ("linear", "gate", "square", "norm", "over", "transposed", "product", "simplex")
        facts = {name: getattr(x, name) for name in keep}
        exact_ends = step.out(x.low, x.high)
        return [
            replace(
                result,
                origin=x.root,
                ball=x.ball,
                levels=x.levels,
                low=exact_ends.low,
                high=exact_ends.high,
                **facts,
            )
        ]
    norm = None
    if x.norm is not None:
        norm = _more(_scaled(x.norm, 1.0, result), result)
    ball = None if x.ball is None else x.ball.widened(rounding_error(result))
    over = None if x.over is None else replace(x.over, limit=x.over.limit * (1 + 2 * unit))
    return [replace(result, ball=ball, norm=norm, over=over)]


TRANSFERS: dict[str, Transfer] = {
    "Add": add,
    "Sub": partial(add, sign=-1.0),
    "Mul": mul,
    "Div": div,
    "Pow": power,
    "Sqrt": sqrt,
    "Clip": clip,
    "Max": greatest,
    "Min": least,
    "Neg": negative,
    "Abs": absolute,
    "Cast": cast,
}
