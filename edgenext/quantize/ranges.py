"""From what calibration saw to a scale and a zero point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgenext.quantize.calibrate import TensorStats

LEVELS = 255
"""Steps of an 8-bit activation."""

SEARCH = np.linspace(1.0, 0.2, 33)
"""Fractions of an extreme that the MSE search tries."""


MANTISSA_BITS = 10
"""Precision of every scale. Twins of a network differ in the last bits of their statistics; coarse
scales make those bits disappear, where fine ones would let them flip roundings all the way down."""


def snap(scale: NDArray[np.floating] | float) -> NDArray[np.float32]:
    """Scales rounded up to `MANTISSA_BITS` bits: at most 0.1 % wider, equal for equal functions."""
    mantissa, exponent = np.frexp(np.asarray(scale, np.float64))
    # what stands within a millionth above a step is that step, with noise
    steps = np.ceil(mantissa * 2**MANTISSA_BITS * (1 - 1e-6))
    return np.asarray(np.ldexp(steps, exponent - MANTISSA_BITS), np.float32)


@dataclass(frozen=True)
class QParams:
    """x ≈ scale · (q − zero_point), q uint8."""

    scale: float
    zero_point: int

    def fake_quantize(self, x: NDArray[np.floating]) -> NDArray[np.floating]:
        """Round x to the values uint8 can hold."""
        q = np.clip(np.round(x / self.scale) + self.zero_point, 0, LEVELS)
        return np.asarray((q - self.zero_point) * self.scale)


def asymmetric(low: float, high: float) -> QParams:
    """uint8 parameters of a range that is widened to hold zero, which stays exact."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(snap(max((high - low) / LEVELS, 1e-12)))
    return QParams(scale, int(np.clip(round(-low / scale), 0, LEVELS)))


def minmax(stats: TensorStats) -> QParams:
    """The whole range that was seen."""
    return asymmetric(stats.low, stats.high)


def mse(
    stats: TensorStats,
    through: Callable[[NDArray[np.floating]], NDArray[np.floating]] = lambda x: x,
) -> QParams:
    """The range with the least squared error, behind the function that reads the tensor.

    The upper end is searched first, then the lower; `through` lets the error be judged where it
    matters, such as behind a GELU, which flattens everything far below zero.
    """
    sample = np.asarray(stats.sample, np.float64)
    target = through(sample)

    def error(low: float, high: float) -> float:
        difference = through(asymmetric(low, high).fake_quantize(sample)) - target
        return float(np.square(difference).mean())

    high = min((f * stats.high for f in SEARCH), key=lambda h: error(stats.low, h))
    low = min((f * stats.low for f in SEARCH), key=lambda v: error(v, high))
    return asymmetric(low, high)


METHODS = {"minmax": minmax, "mse": mse}
