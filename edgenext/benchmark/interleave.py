"""Running bursts in turn, so that what disturbs one artifact disturbs them all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from edgenext.benchmark.executor import Executor

Rounds = list[list[float]]
"""One artifact's samples in ms, by round."""


def interleave(
    executors: Sequence[Executor],
    rounds: int,
    *,
    seconds: float | None = None,
    after_round: Callable[[int], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> list[Rounds]:
    """Samples of every artifact, from bursts in the order A B C A B C ….

    Only one executor works at a time. With a budget of seconds, rounds end when it is spent, and
    only whole rounds are kept. `after_round` is called with how many are done.
    """
    samples: list[Rounds] = [[] for _ in executors]
    start = clock()
    for done in range(1, rounds + 1):
        for mine, executor in zip(samples, executors, strict=True):
            mine.append(executor.burst())
        if after_round:
            after_round(done)
        if seconds is not None and clock() - start >= seconds:
            break
    return samples
