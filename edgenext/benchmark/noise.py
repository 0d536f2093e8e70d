"""The noise floor: how far a file's latency differs from its own in another process (A/A)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from edgenext.benchmark.interleave import Rounds
from edgenext.schema import BenchReport, BenchResult, NoiseFloor, Ratio

LEAST_FLOOR = 0.02
"""Two processes may agree by chance, so a single pair never proves a smaller difference.

If a file's latency has a standard deviation of 0.8 % between processes, which keeps 99 % of pairs
within 3 %, a measured floor alone would tell 23 % of equal files apart; with this limit it is 3 %
(with intervals of ±0.3 % over the rounds).
"""
ASSUMED_FLOOR = 0.03
"""Without a measured floor: files that were given twice came out within 3 % of themselves."""

Interval = tuple[float, float]


def noise_floor(
    first: BenchResult, second: BenchResult, samples: tuple[Rounds, Rounds], seed: int
) -> NoiseFloor:
    """The noise floor of a benchmark, from two processes of its base.

    Args:
        first: the base's result.
        second: that of its second process, which took turns with all the others.
        samples: their samples in ms by round.
        seed: of the bootstrap.
    """
    from edgenext.metrics.statistics import bootstrap_median_interval

    by_round = round_ratios(samples[1], samples[0])
    low, high = bootstrap_median_interval(by_round, seed)
    return NoiseFloor(
        artifact=first.artifact,
        ratio=float(np.median(by_round)),
        ci95=(low, high),
        floor=max(LEAST_FLOOR, high - 1, 1 / low - 1),
        valid=second.valid,
        reasons=second.reasons,
        noisy=second.noisy,
        samples_ms=second.samples_ms,
        rounds=second.rounds,
    )


def floor_of(report: BenchReport) -> float:
    """The noise floor of a benchmark: measured, or assumed where its base was measured once."""
    return report.noise.floor if report.noise else ASSUMED_FLOOR


def latency_ratio(
    names: tuple[str, str],
    samples: tuple[Rounds, Rounds],
    *,
    floor: float,
    seed: int,
    valid: bool = True,
) -> Ratio:
    """The latency of one artifact / that of another, with the noise floor in its interval."""
    from edgenext.metrics.statistics import bootstrap_median_interval

    by_round = round_ratios(*samples)
    interval = bootstrap_median_interval(by_round, seed)
    wide = widened(interval, floor)
    return Ratio(
        a=names[0],
        b=names[1],
        median=float(np.median(by_round)),
        ci95=wide,
        valid=valid,
        rounds_ci95=interval,
        distinguishable=excludes_one(wide),
    )


def measurably_fastest(report: BenchReport) -> int:
    """The number of the fastest artifact of those measurably faster than the first; 0 for none."""
    faster = {
        name: ratio.median
        for name, ratio in report.speeds.items()
        if ratio.valid and ratio.distinguishable and ratio.median > 1
    }
    names = [result.artifact for result in report.results]
    return names.index(max(faster, key=faster.__getitem__)) if faster else 0


def round_ratios(a: Rounds, b: Rounds) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The median of each round of `a` / that of the same round of `b`."""
    return _medians(a) / _medians(b)


def _medians(rounds: Sequence[Sequence[float]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([statistics.median(one_round) for one_round in rounds])


def widened(interval: Interval, floor: float) -> Interval:
    """An interval of a ratio with a noise floor added at both ends, as a factor."""
    low, high = interval
    return low / (1 + floor), high * (1 + floor)


def excludes_one(interval: Interval) -> bool:
    """Whether a ratio with this interval differs measurably from 1."""
    low, high = interval
    return low > 1 or high < 1
