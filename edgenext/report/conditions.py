"""The two conditions under which INT8 pays: faster than every float file, and accurate enough."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgenext.benchmark.noise import floor_of
from edgenext.report.speed import Speed, fastest, speed
from edgenext.report.study import Entry, Study
from edgenext.report.text import (
    count,
    decided_after,
    interval_name,
    number,
    points,
    round_up,
    span,
    times,
)
from edgenext.schema import TIMED


@dataclass(frozen=True)
class Condition:
    """Whether a condition holds (None: cannot tell), the reason, and the reason in a few words.

    `images_needed` is how many images would settle it, where images are what is missing.
    """

    holds: bool | None
    reason: str
    brief: str
    images_needed: int | None = None


def all_hold(conditions: Iterable[Condition]) -> bool | None:
    """False if any condition fails, else None if any is undecided, else True."""
    outcomes = [c.holds for c in conditions]
    if False in outcomes:
        return False
    return None if None in outcomes else True


def floats_to_beat(study: Study, budget: float) -> tuple[Entry, ...]:
    """The floating-point files that INT8 has to beat.

    FP32 always counts; a type of lower precision counts only where its own drop is within the
    budget.
    """
    return tuple(
        e for e in study.floats if e.scheme == "fp32" or is_accurate(e, study, budget).holds
    )


def is_faster(entry: Entry, floats: Sequence[Entry], study: Study) -> Condition:
    """Whether an INT8 file is faster than the fastest valid one of the floating-point files."""
    fastest_float = fastest(floats)
    if study.away:
        hint = _bench_hint(study)
        return Condition(
            None, f"nothing was timed on {study.away}{hint}", f"nothing was timed there{hint}"
        )
    if entry.bench is None:
        return _unknown(f"{entry.label} was not timed{_bench_hint(study)}")
    if not entry.timed:
        return _invalid_timing(entry)
    if fastest_float is None:
        invalid = next((e for e in floats if e.bench), None)
        return _invalid_timing(invalid) if invalid else _unknown("no floating-point file was timed")
    measured = speed(entry, fastest_float, study)
    if measured is None or not measured.valid:
        return _unknown(f"{entry.label} and {fastest_float.phrase} were not timed together")
    value, interval = times(measured.times, measured.low, measured.high)
    best = ", the fastest floating-point file" if len(floats) > 1 else ""
    reason = (
        f"{entry.label} runs {value} as fast as {fastest_float.phrase}{best} "
        f"(95 % interval {interval})"
    )
    if measured.high < 1:
        return Condition(
            False,
            f"{reason}: it is not faster",
            f"it is not faster than {fastest_float.phrase}",
        )
    if not measured.distinguishable:
        return Condition(
            None,
            f"{reason}: {_too_close(measured, study)}",
            f"its speed does not differ measurably from that of {fastest_float.phrase}"
            f"{_where(study)}",
        )
    # A file whose timing is not valid may be the fastest: being faster than the others proves
    # nothing.
    invalid = next((e for e in floats if e.bench and not e.timed), None)
    return _invalid_timing(invalid) if invalid else Condition(True, reason, "it is faster")


def _too_close(measured: Speed, study: Study) -> str:
    """Why a speed does not differ measurably from 1, and whether more rounds would help."""
    floor = noise_sentence(study)
    if max(measured.times, 1 / measured.times) <= 1 + floor_of(study.bench):
        return f"it is within the noise floor, so more rounds would not help; {floor}"
    return f"the interval includes 1; more rounds may narrow it; {floor}"


def noise_sentence(study: Study) -> str:
    """The noise floor of the latencies that count, in a clause."""
    noise = study.bench.noise
    percent = number(100 * floor_of(study.bench), 1)
    if noise is None:
        return f"no noise floor was measured, {percent} % is assumed"
    base = next((e.phrase for e in study.entries if e.name == noise.artifact), noise.artifact)
    value, limits = times(1 / noise.ratio, 1 / noise.ci95[1], 1 / noise.ci95[0])
    return (
        f"{base} ran {value} as fast as itself in a second process ({limits}): the noise floor "
        f"is {percent} %"
    )


def _where(study: Study) -> str:
    return " there" if study.on_device else " on this machine"


def is_accurate(entry: Entry, study: Study, budget: float) -> Condition:
    """Whether the upper end of the interval of a file's drop is within the budget, in points."""
    comparison = entry.comparison
    if comparison is None:
        return _unknown(f"{entry.label} was not compared with the base on the same images")
    data, calibration = study.summary.compare.data, study.summary.calibration
    if entry.kind == "int8" and data and calibration and data.sha256 == calibration.sha256:
        return _unknown("its drop was measured on the images it was calibrated on")
    n, drop = study.summary.compare.n, comparison.drop
    low, high = drop.ci95
    limit = f"the budget of {points(budget)}"
    counts = (
        f"of {count(n, 'image')} {drop.lost:,} were lost and {drop.gained:,} gained, a drop of "
        f"{number(drop.points, 2)} points ({interval_name(drop)} {span(low, high, 2)}"
        f"{decided_after(comparison.decision)})"
    )
    if high <= budget:
        return Condition(True, f"{counts}: within {limit}", f"its drop is within {limit}")
    if low > budget:
        return Condition(False, f"{counts}: over {limit}", f"its top-1 drop is over {limit}")
    from edgenext.metrics.sequence import INTERVALS
    from edgenext.metrics.statistics import images_needed, images_without_drop

    interval = INTERVALS[drop.interval]
    needed = images_needed(drop.lost, drop.gained, n, budget, interval)
    if needed is None:
        advice = brief = "the measured drop is not below it, so these images cannot tell"
        if without_drop := images_without_drop((drop.lost + drop.gained) / n, budget, interval):
            advice += (
                f"; if the file has no drop, about {round_up(without_drop):,} images that flip as "
                "often would show it"
            )
    else:
        about = f"about {round_up(needed):,}"
        advice = f"{about} images would settle it, if they flip as often as these"
        brief = f"{about} would, if they flip as often as these"
    return Condition(
        None,
        f"{counts}: the interval extends beyond {limit}; {advice}",
        f"{count(n, 'image')} do not show that its drop is within {limit} ({brief})",
        needed,
    )


def _bench_hint(study: Study) -> str:
    """The command that times a file on the device that it is for."""
    target = study.target
    if target is None or not target.device:
        return ""
    unit = f" --unit {target.unit}" if target.unit else ""
    return f" (measure it with edgenext bench --device {target.device}{unit})"


def _unknown(reason: str) -> Condition:
    return Condition(None, reason, reason)


def _invalid_timing(entry: Entry) -> Condition:
    bench = entry.bench
    if bench and bench.valid and bench.evidence not in TIMED:
        return _unknown(
            f"the latency of {entry.label} was not measured: its evidence is {bench.evidence}"
        )
    reasons = bench.reasons if bench else ()
    if not reasons:
        return _unknown(f"the timing of {entry.label} is not valid")
    # A reason is the fact, a colon and the advice: a headline has room for the fact alone.
    fact = reasons[0].partition(": ")[0]
    return Condition(
        None,
        f"the timing of {entry.label} is not valid: {'; '.join(reasons)}",
        f"the timing of {entry.label} is not valid, since {fact}",
    )
