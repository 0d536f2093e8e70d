"""How many times as fast one artifact is as another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgenext.report.study import Entry, Study
from edgenext.schema import TIMED, BenchReport, BenchResult, Ratio

SEED = 0
"""Of the bootstrap: the same run gives the same interval."""


@dataclass(frozen=True)
class Speed:
    """The other's latency divided by this one's, with its 95 % interval: 2 is twice as fast.

    The interval includes the noise floor of the benchmark.
    """

    times: float
    low: float
    high: float
    valid: bool

    @property
    def distinguishable(self) -> bool:
        """Whether they differ measurably on the machine that they were measured on."""
        return self.low > 1 or self.high < 1


def speed(of: Entry, over: Entry, study: Study) -> Speed | None:
    """The speed of one artifact relative to another's; None if they were not timed together.

    None, too, if they were not timed on the device that they are for. It is the run's own ratio if
    there is one, else the median of per-round ratios of its samples.
    """
    a, b = of.bench, over.bench
    if a is None or b is None or of.name == over.name or study.away or not _together(a, b):
        return None
    valid = of.timed and over.timed
    declared = {(r.a, r.b): r for r in study.bench.ratios}
    ratio, inverse = declared.get((over.name, of.name)), declared.get((of.name, over.name))
    if ratio and _positive(ratio):
        return Speed(ratio.median, *interval(ratio, study.bench), valid and ratio.valid)
    of_rounds, over_rounds = round_medians(a), round_medians(b)
    if of_rounds is not None and over_rounds is not None and len(of_rounds) == len(over_rounds):
        from edgenext.benchmark.noise import floor_of, widened
        from edgenext.metrics.statistics import bootstrap_median_interval

        ratios = over_rounds / of_rounds
        limits = bootstrap_median_interval(ratios, SEED)
        return Speed(float(np.median(ratios)), *widened(limits, floor_of(study.bench)), valid)
    if inverse and _positive(inverse):
        low, high = interval(inverse, study.bench)
        return Speed(1 / inverse.median, 1 / high, 1 / low, valid and inverse.valid)
    return None


def interval(ratio: Ratio, report: BenchReport) -> tuple[float, float]:
    """The 95 % interval of a ratio of a benchmark with the noise floor in it.

    A ratio of an earlier version has no floor in its own interval.
    """
    from edgenext.benchmark.noise import floor_of, widened

    return widened(ratio.ci95, floor_of(report)) if ratio.rounds_ci95 is None else ratio.ci95


def fastest(entries: Sequence[Entry]) -> Entry | None:
    """The entry with the lowest median latency among those with a valid timing."""
    timed = [(e.bench.p50_ms, e.name, e) for e in entries if e.timed and e.bench]
    return min(timed)[2] if timed else None


def by_round(result: BenchResult) -> list[NDArray[np.float64]] | None:
    """Samples in ms, one array a round; None if the result does not divide them into rounds."""
    if not result.rounds or min(result.rounds) < 1 or sum(result.rounds) != len(result.samples_ms):
        return None
    if min(result.samples_ms) <= 0:
        return None
    samples = np.asarray(result.samples_ms, np.float64)
    return np.split(samples, np.cumsum(result.rounds)[:-1])


def round_medians(result: BenchResult) -> NDArray[np.float64] | None:
    """The median of every round in ms; None if the samples are not divided into rounds."""
    rounds = by_round(result)
    return None if rounds is None else np.array([np.median(r) for r in rounds])


def _positive(ratio: Ratio) -> bool:
    return min(ratio.median, *ratio.ci95) > 0


def _together(a: BenchResult, b: BenchResult) -> bool:
    """Whether a ratio of the two is meaningful: one machine, the same work, both timed."""
    same = (a.device, a.evidence, a.threads, a.batch) == (b.device, b.evidence, b.threads, b.batch)
    return same and a.evidence in TIMED
