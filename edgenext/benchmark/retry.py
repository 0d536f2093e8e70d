"""The best of a few benchmarks on a machine that is not always quiet."""

from __future__ import annotations

from collections.abc import Callable

from edgenext.schema import BenchReport

TRIES = 3
"""How often a benchmark is done at most."""


def quietest(
    measure: Callable[[], BenchReport],
    tries: int = TRIES,
    again: Callable[[], None] = lambda: None,
) -> BenchReport:
    """The first benchmark without a noisy latency, else the one with most valid latencies.

    What is kept is chosen by validity, never by value.

    Args:
        measure: does a benchmark.
        tries: how often at most.
        again: called before every benchmark but the first.
    """

    def valid(report: BenchReport) -> int:
        return sum(r.valid for r in report.results)

    best = measure()
    for _ in range(tries - 1):
        if not noisy(best):
            break
        again()
        best = max(best, measure(), key=valid)
    return best


def noisy(report: BenchReport) -> bool:
    """Whether another try may make more of its latencies valid."""
    return any(r.noisy for r in report.results)
