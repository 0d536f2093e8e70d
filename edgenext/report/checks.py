"""The two conditions under which INT8 pays: faster than any fair float file, and right enough."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgenext.report.speed import fastest, speed
from edgenext.report.study import MEASURED, Entry, Study
from edgenext.report.text import count, number, points, round_up, span, times


@dataclass(frozen=True)
class Check:
    """One condition: whether it holds (None: cannot tell), why, and the same in few words.

    `images_needed` is how many images would settle it, where images are what is missing.
    """

    holds: bool | None
    why: str
    brief: str
    images_needed: int | None = None


def all_hold(checks: Iterable[Check]) -> bool | None:
    """False if any fails, else None if any cannot be told, else True."""
    outcomes = [c.holds for c in checks]
    if False in outcomes:
        return False
    return None if None in outcomes else True


def rivals(study: Study, budget: float) -> tuple[Entry, ...]:
    """The floating-point files that INT8 has to beat.

    FP32 is the network itself; a shorter type rounds too, and counts only where its own drop is
    within the budget.
    """
    return tuple(e for e in study.floats if e.scheme == "fp32" or is_right(e, study, budget).holds)


def is_faster(entry: Entry, floats: Sequence[Entry], study: Study) -> Check:
    """Whether an INT8 file is faster than the fastest valid one of the floating-point files."""
    rival = fastest(floats)
    if study.away:
        how = _how(study)
        return Check(
            None, f"nothing was timed on {study.away}{how}", f"nothing was timed there{how}"
        )
    if entry.bench is None:
        return _unknown(f"{entry.label} was not timed{_how(study)}")
    if not entry.timed:
        return _invalid(entry)
    if rival is None:
        tried = next((e for e in floats if e.bench), None)
        return _invalid(tried) if tried else _unknown("no floating-point file was timed")
    found = speed(entry, rival, study)
    if found is None or not found.valid:
        return _unknown(f"{entry.label} and {rival.phrase} were not timed together")
    value, interval = times(found.times, found.low, found.high)
    best = ", the fastest floating-point file" if len(floats) > 1 else ""
    why = f"{entry.label} runs {value} as fast as {rival.phrase}{best} (95 % interval {interval})"
    if found.high <= 1:
        return Check(False, f"{why}: it is not faster", f"it is not faster than {rival.phrase}")
    if found.low <= 1:
        return Check(
            None,
            f"{why}: the interval holds 1; more rounds would narrow it",
            f"its speed and that of {rival.phrase} cannot be told apart",
        )
    # A rival whose timing is not valid may be the best one: beating the others proves nothing.
    unknown = next((e for e in floats if e.bench and not e.timed), None)
    return _invalid(unknown) if unknown else Check(True, why, "it is faster")


def is_right(entry: Entry, study: Study, budget: float) -> Check:
    """Whether the upper end of a file's drop is within the budget, in points."""
    compared = entry.comparison
    if compared is None:
        return _unknown(f"{entry.label} was not compared with the base on the same images")
    data, calibration = study.summary.compare.data, study.summary.calibration
    if entry.kind == "int8" and data and calibration and data.sha256 == calibration.sha256:
        return _unknown("its drop was measured on the images it was calibrated on")
    n, drop = study.summary.compare.n, compared.drop
    low, high = drop.ci95
    allowed = f"the budget of {points(budget)}"
    seen = (
        f"of {count(n, 'image')} {drop.lost:,} were lost and {drop.gained:,} gained, a drop of "
        f"{number(drop.points, 2)} points (95 % interval {span(low, high, 2)})"
    )
    if high <= budget:
        return Check(True, f"{seen}: within {allowed}", f"its drop is within {allowed}")
    if low > budget:
        return Check(False, f"{seen}: over {allowed}", f"its top-1 drop is over {allowed}")
    from edgenext.metrics.statistics import images_needed

    needed = images_needed(drop.lost, drop.gained, n, budget)
    if needed is None:
        more = "the drop seen is itself not under it, so more images would hardly clear it"
    else:
        more = f"about {round_up(needed):,} would, if they flip as often as these"
    return Check(
        None,
        f"{seen}: the interval reaches over {allowed}; {more}",
        f"{count(n, 'image')} do not show that its drop is within {allowed} ({more})",
        needed,
    )


def _how(study: Study) -> str:
    """How a file is timed where it belongs."""
    target = study.target
    if target is None or not target.device:
        return ""
    unit = f" --unit {target.unit}" if target.unit else ""
    return f" (edgenext bench --device {target.device}{unit} does it)"


def _unknown(why: str) -> Check:
    return Check(None, why, why)


def _invalid(entry: Entry) -> Check:
    bench = entry.bench
    if bench and bench.valid and bench.evidence not in MEASURED:
        return _unknown(f"no machine timed {entry.label}: its evidence is {bench.evidence}")
    reasons = bench.reasons if bench else ()
    if not reasons:
        return _unknown(f"the timing of {entry.label} is not valid")
    # A reason is the fact, a colon and the advice: a headline has room for the fact alone.
    fact = reasons[0].partition(": ")[0]
    return Check(
        None,
        f"the timing of {entry.label} is not valid: {'; '.join(reasons)}",
        f"the timing of {entry.label} is not valid, since {fact}",
    )
