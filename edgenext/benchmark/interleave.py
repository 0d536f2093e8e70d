"""Running bursts in turn, so that a disturbance affects all artifacts alike."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Protocol

Rounds = list[list[float]]
"""One artifact's samples in ms, by round."""


class Executor(Protocol):
    """Runs one artifact that is loaded and warm."""

    def burst(self) -> list[float]:
        """Wall times in ms of one burst of inferences."""
        ...


def interleave(
    executors: Sequence[Executor],
    rounds: int,
    *,
    at_least_s: float = 0.0,
    after_round: Callable[[int, float], None] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> list[Rounds]:
    """Samples of every artifact, from bursts in the order A B C A B C ….

    Only one executor works at a time. There are `rounds` rounds, and more until `at_least_s`
    seconds are over. `after_round` is called with the number of rounds that are done and the
    seconds since the first began.
    """
    samples: list[Rounds] = [[] for _ in executors]
    start = clock()
    for done in itertools.count(1):
        for artifact_rounds, executor in zip(samples, executors, strict=True):
            artifact_rounds.append(executor.burst())
        elapsed_s = clock() - start
        if after_round:
            after_round(done, elapsed_s)
        if done >= rounds and elapsed_s >= at_least_s:
            break
    return samples
