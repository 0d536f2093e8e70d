"""Whether a latency is valid: the reasons against it, each with its remedy."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from edgenext.benchmark.machine import MachineConditions
from edgenext.benchmark.worker import LoadedArtifact

MIN_ROUNDS = 30
"""Fewer rounds give an interval of the median that is too uncertain."""
SPREAD = 0.10
"""Coefficient of variation of the rounds' medians: an idle machine stays under 3 %."""
DRIFT = 0.05
"""Last third against the first: beyond this the latency depends on the duration of the test."""
OTHER_LOAD = 0.125
"""Share of all cores that other programs may use: a quarter of one core on a machine with two."""
STEAL = 0.05
"""Share of the cores' time that a hypervisor may take: the same as the allowed drift."""
DRIFTED = "the last third of the rounds"
"""The beginning of the reason for a latency that drifted."""
CLOCK_FALL = 0.10
"""The largest fall of the clock from its highest: turbo steps of one bin stay below it."""


@dataclass(frozen=True)
class LatencyRequest:
    """The rounds, threads and batch that the user requested."""

    rounds: int
    threads: int
    batch: int


def validity_reasons(
    rounds: Sequence[Sequence[float]],
    loaded: LoadedArtifact,
    request: LatencyRequest,
    conditions: MachineConditions,
) -> tuple[str, ...]:
    """The reasons why a latency is not valid; none when it is.

    Args:
        rounds: the samples in ms, by round.
        loaded: the artifact as it was loaded and warmed up.
        request: what the user requested.
        conditions: the state of the machine during the rounds.
    """
    return (
        *lasting_reasons(rounds, loaded, request, conditions),
        *passing_reasons(rounds, loaded, conditions),
    )


def lasting_reasons(
    rounds: Sequence[Sequence[float]],
    loaded: LoadedArtifact,
    request: LatencyRequest,
    conditions: MachineConditions,
) -> Iterator[str]:
    """The reasons in the request and in the artifact: a quieter machine does not remove them."""
    done = len(rounds)
    if done < request.rounds:
        yield f"{done} of {request.rounds} rounds were done in the time given: give more seconds"
    elif done < MIN_ROUNDS:
        yield f"too few rounds to trust ({done}): ask for at least {MIN_ROUNDS}"
    if loaded.fallback:
        yield f"{loaded.fallback}: measure it where that is not so"
    if loaded.batch != request.batch:
        yield (
            f"batch {request.batch} was asked for, but the artifact takes only {loaded.batch}: "
            "export it with --batch dynamic"
        )
    available = len(loaded.cpus) or conditions.cores
    if request.threads > available:
        yield f"{request.threads} threads shared {available} cores: ask for at most {available}"


def passing_reasons(
    rounds: Sequence[Sequence[float]], loaded: LoadedArtifact, conditions: MachineConditions
) -> Iterator[str]:
    """The reasons that another try may remove."""
    yield from _sample_reasons([statistics.median(r) for r in rounds], loaded)
    yield from _machine_reasons(conditions)


def _sample_reasons(medians: Sequence[float], loaded: LoadedArtifact) -> Iterator[str]:
    if not loaded.settled:
        yield (
            f"the warm-up had not settled after {loaded.warmup} inferences: close other programs "
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


def _machine_reasons(conditions: MachineConditions) -> Iterator[str]:
    limit = OTHER_LOAD * conditions.cores
    if conditions.others > limit:
        yield (
            f"other programs used {conditions.others:.2f} of {conditions.cores} cores "
            f"(limit {limit:.2f}): close them and measure again"
        )
    if conditions.stolen > STEAL:
        yield (
            f"the host of this virtual machine took {conditions.stolen:.0%} of the cores' time "
            f"(limit {STEAL:.0%}): measure when it is quiet, or on a machine of your own"
        )
    if conditions.throttled:
        yield (
            f"cores were slowed for heat {conditions.throttled} times: cool the machine and "
            "measure again"
        )
    if conditions.quota:
        yield (
            f"the container's CPU quota stopped it {conditions.quota} times: raise the quota, or "
            "ask for fewer threads"
        )
    if conditions.clocks_mhz:
        high, low = max(conditions.clocks_mhz), min(conditions.clocks_mhz)
        if low < (1 - CLOCK_FALL) * high:
            yield (
                f"the clock fell from {high:.0f} to {low:.0f} MHz: set the governor to "
                "performance, plug the machine in, or cool it"
            )
