"""From what calibration saw to a scale and a zero point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgenext.quantize.calibrate import TensorStats
from edgenext.quantize.recipe import Activations

LIMITS = {"uint8": (0, 255), "int8": (-128, 127), "uint16": (0, 65535), "int16": (-32768, 32767)}
"""First and last level of each type."""

SEARCH = np.linspace(1.0, 0.2, 33)
"""Fractions of an extreme that a search tries."""

SEARCHED = 1 << 14
"""Values a search looks at: enough that its error is known to a per cent."""

BINS, SMOOTHED = 2048, 49
"""Bins of the histograms whose entropy is compared, and how many are smoothed over."""

MANTISSA_BITS = 10
"""Precision of every scale. Twins of a network differ in the last bits of their statistics; coarse
scales make those bits disappear, where fine ones would let them flip roundings all the way down."""

Values = NDArray[np.floating]
Through = Callable[[Values], Values]


def snap(scale: NDArray[np.floating] | float) -> NDArray[np.float32]:
    """Scales rounded up to `MANTISSA_BITS` bits: at most 0.1 % wider, equal for equal functions."""
    mantissa, exponent = np.frexp(np.asarray(scale, np.float64))
    # what stands within a millionth above a step is that step, with noise
    steps = np.ceil(mantissa * 2**MANTISSA_BITS * (1 - 1e-6))
    return np.asarray(np.ldexp(steps, exponent - MANTISSA_BITS), np.float32)


@dataclass(frozen=True)
class QParams:
    """x ≈ scale · (q − zero_point), q of type `dtype`."""

    scale: float
    zero_point: int
    dtype: str = "uint8"

    def levels(self, x: Values) -> NDArray[np.integer]:
        """The quantized values of x."""
        first, last = LIMITS[self.dtype]
        return np.asarray(
            np.clip(np.round(x / self.scale) + self.zero_point, first, last), self.dtype
        )

    def fake_quantize(self, x: Values) -> Values:
        """Round x to the values the type can hold."""
        return np.asarray(
            (self.levels(x).astype(np.float64) - self.zero_point) * self.scale, np.float64
        )

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and largest value the type can hold."""
        first, last = LIMITS[self.dtype]
        return (first - self.zero_point) * self.scale, (last - self.zero_point) * self.scale


def affine(low: float, high: float, dtype: str = "uint8", symmetric: bool = False) -> QParams:
    """Parameters of a range that is widened to hold zero, which stays exact.

    A symmetric range has its zero in the middle of the type: at 0 for int8, 128 for uint8.
    """
    first, last = LIMITS[dtype]
    low, high = min(low, 0.0), max(high, 0.0)
    if symmetric:
        half = (last - first) // 2
        scale = float(snap(max(max(-low, high) / half, 1e-12)))
        return QParams(scale, last - half, dtype)
    scale = float(snap(max((high - low) / (last - first), 1e-12)))
    return QParams(scale, int(np.clip(round(first - low / scale), first, last)), dtype)


def choose(stats: TensorStats, how: Activations, through: Through | None = None) -> QParams:
    """Scale and zero point of a tensor by the recipe's method.

    Args:
        stats: what calibration saw.
        how: type and method.
        through: the function that alone reads the tensor, such as a GELU, which flattens
            everything far below zero; the error is then judged behind it, by the least square.
    """
    low, high = float(stats.low.min()), float(stats.high.max())
    if through is not None or how.method == "mse":
        low, high = _least_square(stats, how, through or (lambda x: x))
    elif how.method == "percentile":
        low, high = _percentile(stats, how.percentile)
    elif how.method == "entropy":
        low, high = _least_divergence(stats, how)
    return affine(low, high, how.dtype, how.symmetric)


def _percentile(stats: TensorStats, percentile: float) -> tuple[float, float]:
    low, high = np.percentile(stats.values, (100 - percentile, percentile))
    return float(low), float(high)


def _least_square(stats: TensorStats, how: Activations, through: Through) -> tuple[float, float]:
    """The range with the least squared error: the upper end is searched first, then the lower."""
    step = max(1, len(stats.sample) // SEARCHED)
    sample = np.asarray(np.append(stats.sample[::step], stats.sample[-2:]), np.float64)
    target = through(sample)
    least, most = float(stats.low.min()), float(stats.high.max())

    def error(low: float, high: float) -> float:
        q = affine(low, high, how.dtype, how.symmetric)
        return float(np.square(through(q.fake_quantize(sample)) - target).mean())

    return _search(least, most, error, how.symmetric)


def _least_divergence(stats: TensorStats, how: Activations) -> tuple[float, float]:
    """The range whose quantized histogram diverges least (Kullback-Leibler) from the tensor's.

    What a range cuts off stands in its outermost bins, and nothing in the quantized histogram
    stands for it: clipping has its price. (Migacz, "8-bit inference with TensorRT", 2017.)
    """
    least, most = float(stats.low.min()), float(stats.high.max())
    counts, edges = np.histogram(stats.values, BINS, (least, most + 1e-12))
    # a sample's scatter from bin to bin looks like detail that only narrow levels could keep
    counts = np.convolve(counts, np.hanning(SMOOTHED) / np.hanning(SMOOTHED).sum(), "same")
    centres = (edges[:-1] + edges[1:]) / 2

    def error(low: float, high: float) -> float:
        q = affine(low, high, how.dtype, how.symmetric)
        inside = np.flatnonzero((centres >= q.range[0]) & (centres <= q.range[1]))
        first, last = inside[0], inside[-1] + 1
        kept = counts[first:last].astype(np.float64)
        p = kept.copy()
        p[0] += counts[:first].sum()
        p[-1] += counts[last:].sum()
        _, level = np.unique(q.levels(centres[first:last]), return_inverse=True)
        # the mass of each level, spread evenly over those of its bins that hold anything
        share = np.bincount(level, kept) / np.bincount(level, kept > 0).clip(1)
        spread = share[level] * (kept > 0)
        a, b = (p + 1e-9) / (p + 1e-9).sum(), (spread + 1e-9) / (spread + 1e-9).sum()
        return float((a * np.log(a / b)).sum())

    return _search(least, most, error, how.symmetric)


def _search(
    least: float, most: float, error: Callable[[float, float], float], symmetric: bool
) -> tuple[float, float]:
    if symmetric:
        reach = max(-least, most)
        best = min((f * reach for f in SEARCH), key=lambda r: error(-r, r))
        return -best, best
    high = min((f * most for f in SEARCH), key=lambda h: error(least, h))
    low = min((f * least for f in SEARCH), key=lambda v: error(v, high))
    return low, high


def clipped(stats: TensorStats, q: QParams) -> float:
    """Fraction of the sampled values outside a range."""
    low, high = q.range
    half = q.scale / 2
    outside = (stats.values < low - half) | (stats.values > high + half)
    return float(np.mean(outside))
