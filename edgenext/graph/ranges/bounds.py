"""What is known of a tensor for every input: an interval for each value, and facts of structure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

Array = NDArray[np.float64]
Axes = tuple[int, ...]

UNIT: dict[int, float] = {
    TensorProto.FLOAT: 2.0**-24,
    TensorProto.FLOAT16: 2.0**-11,
    TensorProto.BFLOAT16: 2.0**-8,
    TensorProto.DOUBLE: 2.0**-53,
}
"""Type → the largest relative error of rounding to it."""

TINY: dict[int, float] = {
    TensorProto.FLOAT: 2.0**-149,
    TensorProto.FLOAT16: 2.0**-24,
    TensorProto.BFLOAT16: 2.0**-133,
    TensorProto.DOUBLE: 2.0**-1074,
}
"""Type → its least positive value: what is smaller may become zero."""

LIMITS: dict[int, float] = {
    TensorProto.FLOAT: float(np.finfo(np.float32).max),
    TensorProto.FLOAT16: 65504.0,
    TensorProto.BFLOAT16: 3.3895313892515355e38,
    TensorProto.DOUBLE: float(np.finfo(np.float64).max),
    TensorProto.INT32: 2.0**31 - 1,
}
"""Type → its largest value."""

SUMS = UNIT[TensorProto.FLOAT]
"""Relative error of one addition in a sum: runtimes add in float32 or better."""

MOST_VALUES = 1 << 14
"""Values of a tensor that have bounds of their own; beyond it the longest axes share theirs."""


@dataclass(frozen=True)
class Ball:
    """Vectors along one axis lie in a ball: x = shift + scale ⊙ z + e, ‖z‖₂ ≤ radius, |e| ≤ error.

    `scale`, `shift` and `error` have one value for each index of the axis.
    """

    axis: int
    radius: float
    scale: Array
    shift: Array
    error: Array

    def moved(self, axis: int) -> Ball:
        """The same along another axis."""
        return replace(self, axis=axis)

    def times(self, factor: Array) -> Ball:
        """Each value multiplied by a constant."""
        return replace(
            self,
            scale=self.scale * factor,
            shift=self.shift * factor,
            error=self.error * np.abs(factor),
        )

    def plus(self, offset: Array) -> Ball:
        """A constant added to each value."""
        return replace(self, shift=self.shift + offset)

    def widened(self, error: Array | float) -> Ball:
        """Each value off by at most `error` more."""
        return replace(self, error=self.error + error)


@dataclass(frozen=True)
class NormOf:
    """A tensor v that is at least a norm of another: v ≥ factor · ‖root‖^power − delta, v ≥ 0.

    The norm is over `axes` of `root`, kept with length 1; `swapped` if the last two axes of v are
    exchanged.
    """

    root: str
    axes: Axes
    factor: float
    power: int
    delta: float
    swapped: bool = False


@dataclass(frozen=True)
class OverNorms:
    """A tensor that is at most `limit` divided by the norms of rows and columns of a product."""

    limit: float
    rows: str = ""
    columns: str = ""


@dataclass(frozen=True)
class Gate:
    """A function of another tensor: scale · (1 + erf(a·root)), or scale · sigmoid(a·root)."""

    root: str
    kind: str
    a: float
    scale: float


@dataclass(frozen=True)
class Levels:
    """Integers behind dequantized values: x = scale · (q − zero point).

    `size` is the largest |q| and |q − zero point|, because kernels multiply either; it broadcasts
    to the tensor. `scale` has one value, or one for each output of a layer.
    """

    size: Array
    scale: Array
    bits: int


@dataclass(frozen=True)
class Bounds:
    """The least and greatest value of a tensor, for all inputs.

    `low` and `high` have the tensor's rank; an axis of length 1 is shared by the whole axis.
    `value` is the content of a constant. `origin` names the tensor of which this one has the same
    values (after a cast that loses nothing); `linear` is (root, a) if it is a · root. `transposed`
    names the tensor whose last two axes were exchanged, `product` the two whose rows were
    multiplied, `square` the tensor that was squared. `simplex` is an axis along which values are
    not negative and add up to at most 1.
    """

    name: str
    shape: tuple[int, ...]
    dtype: int
    low: Array
    high: Array
    value: NDArray[Any] | None = None
    origin: str = ""
    ball: Ball | None = None
    simplex: int | None = None
    levels: Levels | None = None
    linear: tuple[str, float] | None = None
    gate: Gate | None = None
    square: str = ""
    norm: NormOf | None = None
    over: OverNorms | None = None
    transposed: str = ""
    product: tuple[str, str] | None = None

    @property
    def size(self) -> Array:
        """The largest absolute value, as `low` and `high` are shared."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    @property
    def most(self) -> float:
        """The largest absolute value of the whole tensor; infinite if nothing is known."""
        return float(self.size.max(initial=0.0))

    @property
    def root(self) -> str:
        """The tensor whose values these are."""
        return self.origin or self.name

    @property
    def scalar(self) -> float | None:
        """The value of a constant with one value."""
        return None if self.value is None or self.value.size != 1 else float(self.value.reshape(()))

    def along(self, axis: int) -> Array | None:
        """The values of a constant that varies along one axis at most, as a vector."""
        if self.value is None:
            return None
        rank = max(self.value.ndim, 1)
        others = self.value.size // (self.value.shape[axis - rank] if self.value.ndim else 1)
        return None if others != 1 else self.value.reshape(-1).astype(np.float64)


def constant(name: str, value: NDArray[Any], dtype: int) -> Bounds:
    """A tensor that is known."""
    exact = np.asarray(value)
    numbers = np.zeros(exact.shape) if exact.dtype.kind in "OSU" else exact.astype(np.float64)
    if not np.isfinite(numbers).all():
        numbers = np.where(np.isnan(numbers), np.inf, numbers)
    low, high = shared(numbers, numbers)
    return Bounds(name, exact.shape, dtype, low, high, value=exact)


def unknown(name: str, shape: tuple[int, ...], dtype: int) -> Bounds:
    """A tensor of which nothing is known."""
    ones = (1,) * len(shape)
    return Bounds(name, shape, dtype, np.full(ones, -np.inf), np.full(ones, np.inf))


def shared(low: Array, high: Array) -> tuple[Array, Array]:
    """Bounds with as few values as possible: equal ones once, then the longest axes together."""
    for axis in range(low.ndim):
        if low.shape[axis] > 1:
            first_low, first_high = (np.take(x, [0], axis) for x in (low, high))
            if (low == first_low).all() and (high == first_high).all():
                low, high = first_low, first_high
    while low.size > MOST_VALUES:
        axis = int(np.argmax(low.shape))
        low, high = low.min(axis, keepdims=True), high.max(axis, keepdims=True)
    return low, high


def joined(x: Array, axes: Axes, least: bool) -> Array:
    """The least or greatest bound along axes, which are kept with length 1."""
    if not axes:
        return x
    return np.asarray(x.min(axes, keepdims=True) if least else x.max(axes, keepdims=True))


def rounded(bounds: Bounds, magnitude: Array | float | None = None, terms: int = 1) -> Bounds:
    """Bounds that hold for the computed values, not only for the exact ones.

    Args:
        bounds: of the exact results.
        magnitude: the largest sum of absolute terms, where results are sums of several.
        terms: how many terms are added, or operations follow one another, in float32.
    """
    if bounds.dtype not in UNIT:
        return bounds
    unit, tiny = UNIT[bounds.dtype], TINY[bounds.dtype]
    with np.errstate(invalid="ignore"):
        if magnitude is None and terms == 1:
            # one operation, correctly rounded: rounding never exchanges two values
            slack_low, slack_high = (np.abs(v) * unit + tiny for v in (bounds.low, bounds.high))
        else:
            size = bounds.size
            inner = size if magnitude is None else np.maximum(np.abs(magnitude), size)
            slack = inner * (1.01 * terms * SUMS) + tiny
            slack_low = slack_high = slack + (size + slack) * unit
        low, high = bounds.low - slack_low, bounds.high + slack_high
    low, high = np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)
    if magnitude is None and terms == 1:
        low = np.where(bounds.low >= 0, np.maximum(low, 0), low)
        high = np.where(bounds.high <= 0, np.minimum(high, 0), high)
    low, high = shared(low, high)
    return replace(bounds, low=low, high=high)
