"""Ranges: from a tensor's statistics to its scale and zero point."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgenext.quantize.calibrate import TensorStats
from edgenext.quantize.recipe import Activations

LIMITS = {"uint8": (0, 255), "int8": (-128, 127), "uint16": (0, 65535), "int16": (-32768, 32767)}
"""First and last level of each type."""

SEARCH = np.linspace(1.0, 0.2, 33)
"""Fractions of an extreme that the search tries."""

SEARCHED = 1 << 14
"""Values the search reads: enough to know its error to one percent."""

BINS, SMOOTHED = 2048, 49
"""Bins of the histograms whose entropy is compared, and width of their smoothing in bins."""

MANTISSA_BITS = 10
"""Precision of every scale. Twins of a network differ in the last bits of their statistics: coarse
scales hide those bits, fine ones would let them flip roundings in every later layer."""

Values = NDArray[np.floating]
Elementwise = Callable[[Values], Values]


def snap(scale: NDArray[np.floating] | float) -> NDArray[np.float32]:
    """Scales rounded up to `MANTISSA_BITS` bits: at most 0.1 % wider, equal for equal functions."""
    mantissa, exponent = np.frexp(np.asarray(scale, np.float64))
    # within a millionth above a step the difference is noise
    steps = np.ceil(mantissa * 2**MANTISSA_BITS * (1 - 1e-6))
    return np.asarray(np.ldexp(steps, exponent - MANTISSA_BITS), np.float32)


def _snapped(scale: float) -> float:
    """`snap` of one number, which the range search calls thousands of times."""
    mantissa, exponent = math.frexp(scale)
    steps = math.ceil(mantissa * 2**MANTISSA_BITS * (1 - 1e-6))
    return float(np.float32(math.ldexp(steps, exponent - MANTISSA_BITS)))


@dataclass(frozen=True)
class QParams:
    """x ≈ scale · (q − zero_point), q of type `dtype`."""

    scale: float
    zero_point: int
    dtype: str = "uint8"

    def levels(self, x: Values) -> NDArray[np.integer]:
        """The quantized values of x."""
        return np.asarray(self._rounded(x), self.dtype)

    def fake_quantize(self, x: Values) -> Values:
        """X rounded to the values the type can hold."""
        values = self.steps(x).astype(np.float64, copy=False)
        values *= self.scale
        return values

    def steps(self, x: Values) -> Values:
        """The quantized values of x less the zero point, as floats of the type of x."""
        values = self._rounded(x)
        values -= self.zero_point
        return values

    def _rounded(self, x: Values) -> Values:
        """The quantized values of x as floats, which hold them exactly."""
        first, last = LIMITS[self.dtype]
        values = np.asarray(x / self.scale)
        np.rint(values, out=values)
        values += self.zero_point
        return np.asarray(np.minimum(np.maximum(values, first, out=values), last, out=values))

    @property
    def range(self) -> tuple[float, float]:
        """The smallest and largest value the type can hold."""
        first, last = LIMITS[self.dtype]
        return (first - self.zero_point) * self.scale, (last - self.zero_point) * self.scale


def affine(low: float, high: float, dtype: str = "uint8", symmetric: bool = False) -> QParams:
    """Parameters of a range, widened to include zero, which stays exact.

    A symmetric range has its zero in the middle of the type: at 0 for int8, 128 for uint8.
    """
    first, last = LIMITS[dtype]
    low, high = min(low, 0.0), max(high, 0.0)
    if symmetric:
        half = (last - first) // 2
        scale = _snapped(max(max(-low, high) / half, 1e-12))
        return QParams(scale, last - half, dtype)
    scale = _snapped(max((high - low) / (last - first), 1e-12))
    return QParams(scale, min(max(round(first - low / scale), first), last), dtype)


def choose_range(
    stats: TensorStats, options: Activations, function: Elementwise | None = None
) -> QParams:
    """Scale and zero point of a tensor by the recipe's method.

    Args:
        stats: the tensor's statistics.
        options: type and method.
        function: the only reader of the tensor, such as a GELU, which flattens everything far
            below zero; the least squared error is then taken of its output.
    """
    low, high = float(stats.low.min()), float(stats.high.max())
    if function is not None or options.method == "mse":
        low, high = _least_square(stats, options, function or (lambda x: x))
    elif options.method == "percentile":
        low, high = _percentile(stats, options.percentile)
    elif options.method == "entropy":
        low, high = _least_divergence(stats, options)
    return affine(low, high, options.dtype, options.symmetric)


def _percentile(stats: TensorStats, percentile: float) -> tuple[float, float]:
    low, high = np.percentile(stats.values, (100 - percentile, percentile))
    return float(low), float(high)


def _least_square(
    stats: TensorStats, options: Activations, function: Elementwise
) -> tuple[float, float]:
    """The range with the least squared error: the upper end is searched first, then the lower."""
    step = max(1, len(stats.sample) // SEARCHED)
    sample = np.asarray(np.append(stats.sample[::step], stats.sample[-2:]), np.float64)
    target = function(sample)
    least, most = float(stats.low.min()), float(stats.high.max())

    def error(low: float, high: float) -> float:
        q = affine(low, high, options.dtype, options.symmetric)
        difference = function(q.fake_quantize(sample)) - target
        return float(np.square(difference, out=difference).mean())

    return _search(least, most, error, options.symmetric)


def _least_divergence(stats: TensorStats, options: Activations) -> tuple[float, float]:
    """The range whose quantized histogram diverges least (Kullback-Leibler) from the tensor's.

    Clipped values are counted in the outermost bins of the range, and in no bin of the quantized
    histogram: clipping costs. (Migacz, "8-bit inference with TensorRT", 2017.)
    """
    least, most = float(stats.low.min()), float(stats.high.max())
    counts, edges = np.histogram(stats.values, BINS, (least, most + 1e-12))
    # without smoothing, sampling noise looks like detail that only narrow levels can represent
    counts = np.convolve(counts, np.hanning(SMOOTHED) / np.hanning(SMOOTHED).sum(), "same")
    centres = (edges[:-1] + edges[1:]) / 2

    def error(low: float, high: float) -> float:
        q = affine(low, high, options.dtype, options.symmetric)
        inside = np.flatnonzero((centres >= q.range[0]) & (centres <= q.range[1]))
        first, last = inside[0], inside[-1] + 1
        inner = counts[first:last].astype(np.float64)
        p = inner.copy()
        p[0] += counts[:first].sum()
        p[-1] += counts[last:].sum()
        _, level = np.unique(q.levels(centres[first:last]), return_inverse=True)
        # the mass of each level, spread evenly over those of its bins that are not empty
        share = np.bincount(level, inner) / np.bincount(level, inner > 0).clip(1)
        spread = share[level] * (inner > 0)
        a, b = (p + 1e-9) / (p + 1e-9).sum(), (spread + 1e-9) / (spread + 1e-9).sum()
        return float((a * np.log(a / b)).sum())

    return _search(least, most, error, options.symmetric)


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


def clipped_share(stats: TensorStats, q: QParams) -> float:
    """Fraction of the sampled values outside a range."""
    low, high = q.range
    half = q.scale / 2
    outside = (stats.values < low - half) | (stats.values > high + half)
    return float(np.mean(outside))
