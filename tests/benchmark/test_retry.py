"""Noise is worth another try, a request that cannot be met is not; the value never chooses."""

from __future__ import annotations

from collections.abc import Sequence

from edgenext.benchmark.retry import noisy, quietest
from edgenext.schema import BenchReport, BenchResult, Latency, NoiseFloor

QUIET, NOISY, IMPOSSIBLE = "quiet", "noisy", "impossible"


def report(*states: str, ms: float = 1.0) -> BenchReport:
    return BenchReport(
        results=tuple(
            BenchResult(
                artifact=str(i),
                runtime="onnxruntime",
                device="cpu",
                evidence="host",
                threads=1,
                batch=1,
                latency_ms=Latency(min=ms, mean=ms, p50=ms, p90=ms, p99=ms),
                n=30,
                load_ms=1,
                first_ms=1,
                peak_rss_mb=1,
                valid=state == QUIET,
                noisy=state == NOISY,
                reasons=() if state == QUIET else (state,),
            )
            for i, state in enumerate(states)
        ),
        ratios=(),
    )


def choose(reports: Sequence[BenchReport], tries: int) -> tuple[int, int, int]:
    """The index of the benchmark that is chosen, how many were run, and how many were announced."""
    remaining, retries = iter(reports), []
    best = quietest(lambda: next(remaining), tries, before_retry=lambda: retries.append(1))
    return reports.index(best), len(reports) - len(list(remaining)), len(retries)


def test_the_first_without_noise_ends_it() -> None:
    assert choose([report(QUIET, QUIET), report(QUIET, QUIET, ms=0.5)], 3) == (0, 1, 0)
    tries = [report(QUIET, NOISY), report(QUIET, QUIET), report(QUIET, QUIET, ms=0.5)]
    assert choose(tries, 3) == (1, 2, 1)


def test_the_one_with_most_valid_latencies_is_kept_whatever_they_are() -> None:
    some = report(QUIET, NOISY, ms=9)
    assert choose([report(NOISY, NOISY), some, report(NOISY, NOISY, ms=2)], 3) == (1, 3, 2)
    assert choose([some, report(QUIET, NOISY, ms=2)], 2) == (0, 2, 1)


def second(state: str) -> BenchReport:
    """A benchmark whose base has a second process that was disturbed, or not."""
    noise = NoiseFloor(
        artifact="0",
        ratio=1,
        ci95=(0.99, 1.01),
        floor=0.01,
        valid=state == QUIET,
        noisy=state == NOISY,
    )
    return report(QUIET, QUIET).model_copy(update={"noise": noise})


def test_a_noise_floor_that_was_disturbed_is_measured_again() -> None:
    assert choose([second(NOISY), second(QUIET)], 3) == (1, 2, 1)
    assert not noisy(second(QUIET)) and not noisy(second(IMPOSSIBLE))


def test_what_no_try_can_mend_is_not_tried_again() -> None:
    assert choose([report(QUIET, IMPOSSIBLE), report(QUIET, QUIET)], 3) == (0, 1, 0)
    assert not noisy(report(IMPOSSIBLE, QUIET)) and noisy(report(IMPOSSIBLE, NOISY))
