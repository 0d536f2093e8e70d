"""Numbers and their uncertainty: pure functions, no clock and no files."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, ndtri

RESAMPLES = 2000
"""Enough that the Monte-Carlo error of a 95 % limit is far below the interval's width."""
MOST_IMAGES = 10**9
"""More images than any data set has: beyond this a budget counts as out of reach."""


def check_counts(lost: float, gained: float, n: float) -> None:
    """Refuse counts that n images cannot have.

    Raises:
        ValueError: they are negative or exceed n.
    """
    if (
        n <= 0 or lost < 0 or gained < 0 or lost + gained > n * (1 + 1e-9)
    ):  # shares may exceed n by rounding
        raise ValueError(f"impossible paired counts: {lost} lost and {gained} gained of {n}")


def _score_sd(delta: float, lost: float, gained: float, n: float) -> float:
    """Standard deviation of (lost − gained) if the true difference were `delta`.

    The probability of `gained` is its maximum-likelihood estimate under that constraint
    (Tango 1998, equations 25 and 26).
    """
    b = -lost - gained + (2 * n - lost + gained) * delta
    c = -gained * delta * (1 - delta)
    root = math.sqrt(max(b * b - 8 * n * c, 0.0))
    # The two forms are equal; each avoids a difference of nearly equal numbers.
    q = -2 * c / (root + b) if b > 0 else (root - b) / (4 * n)
    return math.sqrt(max(n * (2 * q + delta * (1 - delta)), 0.0))


def _upper(lost: float, gained: float, n: float, z: float) -> float:
    """Largest difference, as a proportion, that a score test with critical value z accepts."""
    estimate = (lost - gained) / n
    if estimate == 1:
        return 1.0
    # An estimate without variance solves the equation too: these are the other root.
    if lost == gained == 0:
        return z * z / (n + z * z)
    if estimate == -1:
        return -(n - z * z) / (n + z * z)

    def excess(delta: float) -> float:
        return lost - gained - n * delta + z * _score_sd(delta, lost, gained, n)

    from scipy.optimize import brentq  # half a second, which most commands need not spend

    return float(brentq(excess, estimate, 1.0, xtol=1e-14, rtol=1e-14))


def tango_interval(
    lost: float, gained: float, n: float, confidence: float = 0.95
) -> tuple[float, float]:
    """Tango's score interval of the paired drop 100·(lost − gained)/n, in points.

    Tango, "Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design", Statistics in Medicine 17 (1998) 891-908. Counts need not be whole.

    Raises:
        ValueError: the counts are negative or exceed n.
    """
    check_counts(lost, gained, n)
    z = float(ndtri((1 + confidence) / 2))
    # Swapping lost and gained mirrors the interval: one function gives both limits. Adding 0.0
    # turns −0 to 0.
    return -100 * _upper(gained, lost, n, z) + 0.0, 100 * _upper(lost, gained, n, z)


def mcnemar_exact(lost: int, gained: int) -> float:
    """Two-sided p-value of McNemar's exact test: `lost` of `lost + gained` at one half."""
    if lost + gained == 0:
        return 1.0
    return min(1.0, 2 * float(bdtr(min(lost, gained), lost + gained, 0.5)))


def wilson_interval(count: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share of n independent images, in percent.

    Raises:
        ValueError: the count is negative or exceeds n, or there are no images.
    """
    if not 0 <= count <= n or n == 0:
        raise ValueError(f"impossible count: {count} of {n}")
    z = float(ndtri((1 + confidence) / 2))
    share, spread = count / n, z * z / n
    centre = share + spread / 2
    reach = math.sqrt(spread * (share * (1 - share) + spread / 4))
    low, high = (100 * (centre + sign * reach) / (1 + spread) for sign in (-1, 1))
    return max(0.0, low), min(100.0, high)


Interval = Callable[[float, float, float], tuple[float, float]]
"""Lost, gained and n to the limits of the drop in points."""


def images_needed(
    lost: float, gained: float, n: int, budget: float, interval: Interval = tango_interval
) -> int | None:
    """How many images would put the interval's upper end under a budget in points.

    Assumes that the shares of lost and gained images stay as observed. None if the observed drop
    is not below the budget, or if it would take more than `MOST_IMAGES`. None does not mean that
    the true drop is over the budget: the interval says whether it may be below.

    Raises:
        ValueError: the counts are negative or exceed n.
    """
    check_counts(lost, gained, n)
    if 100 * (lost - gained) / n >= budget:
        return None

    def met(images: int) -> bool:
        share = images / n
        return interval(lost * share, gained * share, images)[1] < budget

    enough = 1
    while not met(enough):
        enough *= 2
        if enough > MOST_IMAGES:
            return None
    few = enough // 2
    while enough - few > 1:
        middle = (few + enough) // 2
        few, enough = (few, middle) if met(middle) else (middle, enough)
    return enough


def images_without_drop(
    flipped: float, budget: float, interval: Interval = tango_interval
) -> int | None:
    """How many images can show that a file without a drop is under a budget in points.

    Args:
        flipped: the share of images that it loses or gains, half of them each. With 0 it is the
            least number that can show the budget, unless more images are gained than lost.
        budget: points of top-1.
        interval: the kind that is to show it.

    Returns:
        None for a budget of 0, or if it would take more than `MOST_IMAGES`.
    """
    return images_needed(flipped / 2, flipped / 2, 1, budget, interval)


def bootstrap_median_interval(
    values: Sequence[float] | NDArray[np.float64],
    seed: int,
    confidence: float = 0.95,
    n_resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the median (Efron and Tibshirani 1993, chapter 13).

    Raises:
        ValueError: there are no values.
    """
    data = np.asarray(values, np.float64)
    if data.size == 0:
        raise ValueError("no values to resample")
    drawn = np.random.default_rng(seed).choice(data, (n_resamples, data.size))
    tail = (1 - confidence) / 2
    lo, hi = np.quantile(np.median(drawn, axis=1), (tail, 1 - tail))
    return float(lo), float(hi)
