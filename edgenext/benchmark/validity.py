"""Whether a latency can be trusted: reasons against it, each with what to do about it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgenext.benchmark.machine import Conditions
from edgenext.benchmark.worker import Ready

MIN_ROUNDS = 30
"""Fewer rounds give an interval of the median that means little."""
SPREAD = 0.10
"""Coefficient of variation of the rounds' medians: an idle machine stays under 3 %."""
DRIFT = 0.05
"""Last third against the first: beyond it the figure depends on how long one measures."""
OTHER_LOAD = 0.125
"""Share of all cores that others may use: a quarter of one core on a machine with two."""
STEAL = 0.05
"""Share of the cores' time a hypervisor may take: as much as the drift that is allowed."""
DRIFTED = "the last third of the rounds"
"""How the reason begins that a latency drifted."""
CLOCK_FALL = 0.10
"""How far the clock may fall below its highest: turbo steps of one bin stay under it."""


@dataclass(frozen=True)
class Asked:
    """What the user asked for."""

    rounds: int
    threads: int
    batch: int


def reasons(
    rounds: Sequence[Sequence[float]], ready: Ready, asked: Asked, during: Conditions
) -> tuple[str, ...]:
    """Why a latency is not valid; nothing when it is.

    Args:
        rounds: the samples in ms, by round.
        ready: how the artifact was loaded and warmed.
        asked: what was asked for.
        during: the state of the machine.
    """
    return (*lasting(rounds, ready, asked, during), *passing(rounds, ready, during))


def lasting(
    rounds: Sequence[Sequence[float]], ready: Ready, asked: Asked, during: Conditions
) -> Iterator[str]:
    """The reasons that stay, however quiet the machine: what was asked for, and of what."""
    done = len(rounds)
    if done < asked.rounds:
        yield f"{done} of {asked.rounds} rounds were done in the time given: give more seconds"
    elif done < MIN_ROUNDS:
        yield f"too few rounds to trust ({done}): ask for at least {MIN_ROUNDS}"
    if ready.fallback:
        yield f"{ready.fallback}: measure it where that is not so"
    if ready.batch != asked.batch:
        yield (
            f"batch {asked.batch} was asked for, but the artifact takes only {ready.batch}: "
            "export it with --batch dynamic"
        )
    available = len(ready.cpus) or during.cores
    if asked.threads > available:
        yield f"{asked.threads} threads shared {available} cores: ask for at most {available}"


def passing(rounds: Sequence[Sequence[float]], ready: Ready, during: Conditions) -> Iterator[str]:
    """The reasons that another try may not have."""
    yield from _of_samples([statistics.median(r) for r in rounds], ready)
    yield from _of_machine(during)


def _of_samples(medians: Sequence[float], ready: Ready) -> Iterator[str]:
    if not ready.settled:
        yield (
            f"the warm-up had not settled after {ready.warmup} inferences: close other programs "
            "and measure again"
        )
    spread = statistics.pstdev(medians) / statistics.fmean(medians)
    if spread > SPREAD:
        yield (
            f"the rounds' medians vary by {spread:.0%} (limit {SPREAD:.0%}): close other programs "
            "and measure again"
        )
    third = len(medians) // 3
    if third:
        drift = statistics.median(medians[-third:]) / statistics.median(medians[:third]) - 1
        if abs(drift) > DRIFT:
            yield (
                f"{DRIFTED} is {abs(drift):.0%} "
                f"{'slower' if drift > 0 else 'faster'} than the first (limit {DRIFT:.0%}): "
                "let the machine come to rest and measure again, with more rounds"
            )


def _of_machine(during: Conditions) -> Iterator[str]:
    limit = OTHER_LOAD * during.cores
    if during.others > limit:
        yield (
            f"other programs used {during.others:.2f} of {during.cores} cores "
            f"(limit {limit:.2f}): close them and measure again"
        )
    if during.stolen > STEAL:
        yield (
            f"the host of this virtual machine took {during.stolen:.0%} of the cores' time "
            f"(limit {STEAL:.0%}): measure when it is quiet, or on a machine of your own"
        )
    if during.throttled:
        yield (
            f"cores were slowed for heat {during.throttled} times: cool the machine and measure "
            "again"
        )
    if during.quota:
        yield (
            f"the container's CPU quota stopped it {during.quota} times: raise the quota, or ask "
            "for fewer threads"
        )
    if during.clocks_mhz:
        high, low = max(during.clocks_mhz), min(during.clocks_mhz)
        if low < (1 - CLOCK_FALL) * high:
            yield (
                f"the clock fell from {high:.0f} to {low:.0f} MHz: set the governor to "
                "performance, plug the machine in, or cool it"
            )
