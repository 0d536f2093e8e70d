"""The best of a few benchmarks on a machine that is not always quiet."""

from __future__ import annotations

from collections.abc import Callable

from edgenext.schema import BenchReport

TRIES = 3
"""The most times a benchmark is run."""


def quietest(
    measure: Callable[[], BenchReport],
    tries: int = TRIES,
    before_retry: Callable[[], None] = lambda: None,
) -> BenchReport:
    """The first benchmark without a noisy latency, else the one with most valid latencies.

    The choice depends on validity only, never on the values.

    Args:
        measure: runs a benchmark.
        tries: the most times it is run.
        before_retry: called before every benchmark but the first.
    """

    def valid_count(report: BenchReport) -> int:
        return sum(r.valid for r in report.results) + bool(report.noise and report.noise.valid)

    best = measure()
    for _ in range(tries - 1):
        if not noisy(best):
            break
        before_retry()
        best = max(best, measure(), key=valid_count)
    return best


def noisy(report: BenchReport) -> bool:
    """Whether another try may make more of its latencies valid."""
    return any(r.noisy for r in report.results) or bool(report.noise and report.noise.noisy)
