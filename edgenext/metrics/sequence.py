"""A confidence sequence of the paired drop: limits that hold however often one looks at them.

An interval for a number of images that was fixed before, such as Tango's, is wrong more often than
it says if one looks again and again and stops when it suits. These limits are not: with 95 %
probability the true drop is between them after every number of images at once.

The drop is tested by betting (Waudby-Smith and Ramdas, "Estimating means of bounded random
variables by betting", Journal of the Royal Statistical Society B 86, 2024, pp. 1-27). Each image's
value x is 1 if it was lost, -1 if it was gained, else 0. A gambler who bets a fixed share on x
being below m multiplies the capital by 1 + c·(m - x)/(1 - m) at each image. If the mean of x is m
or more, that is a supermartingale, and so is the mean capital of several gamblers with shares c
that were chosen beforehand. By Ville's inequality it ever reaches 40 with a probability of 2.5 %
at most: then m is too large. The other end is its mirror image. The capital depends on the counts
alone, so anybody can compute the limits again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgenext.metrics.statistics import Interval, check_counts, tango_interval
from edgenext.schema import BudgetOutcome

SHARES = 0.9 * 2.0 ** -np.arange(7)
"""The shares c that are bet, with equal capital: 0.9 to 0.014. The best one is about the distance
of the drop from m, divided by the share of images that are lost or gained: 0.9 is for files that
change next to no answer, 0.014 for a distance of 0.3 points where one answer in five changes."""
STEPS = 100
"""More steps of Newton's method than any counts need: 7 are usual."""
EXACT = 1e-12
"""The last step, as a proportion."""
EVERYTHING = (-100.0, 100.0)
"""The interval before the first look, in points."""
Values = NDArray[np.float64]


def log_capital(lost: ArrayLike, gained: ArrayLike, n: ArrayLike, mean: ArrayLike) -> Values:
    """The logarithm of the capital won by betting that the mean of lost - gained is below `mean`.

    Args:
        lost: images lost so far, any shape; broadcast with the others.
        gained: images gained so far.
        n: images so far.
        mean: a proportion, above -1 and below 1.
    """
    return _capital_and_slope(*(np.asarray(v, np.float64) for v in (lost, gained, n, mean)))[0]


def _capital_and_slope(
    lost: Values, gained: Values, n: Values, mean: Values
) -> tuple[Values, Values]:
    """`log_capital` and its derivative by `mean`; it is convex, and 0 or less at the estimate."""
    lost, gained, n, mean = (value[..., None] for value in (lost, gained, n, mean))
    equal, rest = n - lost - gained, 1 - mean
    if_gained, if_equal = rest + SHARES * (1 + mean), rest + SHARES * mean
    each = lost * np.log1p(-SHARES) + gained * np.log(if_gained) + equal * np.log(if_equal)
    each -= (n - lost) * np.log(rest)
    most = each.max(-1, keepdims=True)  # exponents below it cannot overflow
    weights = np.exp(each - most)
    slopes = (n - lost) / rest - (1 - SHARES) * (gained / if_gained + equal / if_equal)
    total = weights.sum(-1)
    capital: Values = np.log(total / len(SHARES)) + most[..., 0]
    slope: Values = (weights * slopes).sum(-1) / total
    return capital, slope


def sequence_limits(
    lost: ArrayLike, gained: ArrayLike, n: ArrayLike, confidence: float = 0.95
) -> tuple[Values, Values]:
    """Both limits of the drop, in points, for counts of any shape; see `sequence_interval`."""
    lost, gained, n = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (lost, gained, n)))
    return 0.0 - _upper(gained, lost, n, confidence), _upper(lost, gained, n, confidence)


def _upper(lost: Values, gained: Values, n: Values, confidence: float) -> Values:
    """The smallest drop in points that is refuted.

    Newton's method: the capital is convex, so from the second step on it comes from above, where
    every drop is refuted.
    """
    enough = np.log(2 / (1 - confidence))
    estimate, flips = (lost - gained) / n, (lost + gained) / n
    reach = np.sqrt(2 * enough * flips / n) + enough / n
    mean = np.minimum(estimate + reach, (1 + estimate) / 2)
    open_ended = lost == n  # nothing was ever won
    mean = np.where(open_ended, 0.0, mean)
    for _ in range(STEPS):
        capital, slope = _capital_and_slope(lost, gained, n, mean)
        with np.errstate(divide="ignore", invalid="ignore"):
            step = np.minimum((enough - capital) / slope, (1 - mean) / 2)
        step = np.where(slope > 0, step, (1 - mean) / 2)
        step = np.where(open_ended, 0.0, step)
        mean = mean + step
        if np.abs(step).max(initial=0.0) < EXACT:
            break
    return np.where(open_ended, 100.0, 100 * mean)


def sequence_interval(
    lost: float, gained: float, n: float, confidence: float = 0.95
) -> tuple[float, float]:
    """The interval of the paired drop 100·(lost - gained)/n after n images, in points.

    It holds at whatever n one stops, for whatever reason. Counts need not be whole.

    Raises:
        ValueError: the counts are negative or exceed n.
    """
    check_counts(lost, gained, n)
    low, high = sequence_limits(lost, gained, n, confidence)
    return float(low), float(high)


INTERVALS: dict[str, Interval] = {"tango": tango_interval, "sequence": sequence_interval}
"""What computes the interval of a `Drop` whose `interval` has that name."""


def sequence_p_value(lost: int, gained: int, n: int) -> float:
    """The two-sided probability of ever seeing as much evidence of a drop if there were none.

    One over the mean capital of betting on both sides; below 0.05 it agrees with the interval.

    Raises:
        ValueError: the counts are negative or exceed n.
    """
    check_counts(lost, gained, n)
    sides = np.logaddexp(log_capital(lost, gained, n, 0), log_capital(gained, lost, n, 0))
    return float(np.exp(min(0.0, np.log(2) - sides)))


def narrowed(interval: tuple[float, float], latest: tuple[float, float]) -> tuple[float, float]:
    """What an earlier look and the latest leave together: what was excluded once stays so.

    A look that would leave nothing, as at most 5 % of sequences have, changes nothing.
    """
    low, high = max(interval[0], latest[0]), min(interval[1], latest[1])
    return (low, high) if low <= high else interval


def budget_outcome(interval: tuple[float, float], budget: float) -> BudgetOutcome:
    """On which side of a budget in points an interval is."""
    low, high = interval
    return "under" if high < budget else "over" if low > budget else "undecided"
