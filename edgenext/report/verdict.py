"""Whether INT8 paid, for a drop within the budget, and which file to ship."""

from __future__ import annotations

from collections.abc import Sequence

from edgenext.benchmark.environment import isa_label
from edgenext.report.checks import Check, all_hold, is_faster, is_right, rivals
from edgenext.report.speed import fastest, speed
from edgenext.report.study import Entry, Study
from edgenext.report.text import clean, number, span, times
from edgenext.schema import Record

BUDGET = 1.0
"""Points of top-1 that INT8 may cost unless the reader says otherwise."""


class Verdict(Record):
    """Whether INT8 paid, in a sentence and with its reasons.

    `pays` is None where the run cannot tell. `artifact` is the INT8 file that was judged, `base`
    the one it is compared with, `rival` the fastest floating-point file whose own drop is within
    the budget, `budget` in points, `images_needed` how many images would show the drop within it,
    where more are needed.
    `recommended` is the file to ship: INT8 where it pays, its rival where it does not, None where
    the run cannot tell.
    """

    sentence: str
    pays: bool | None
    reasons: tuple[str, ...]
    budget: float
    artifact: str | None = None
    base: str | None = None
    rival: str | None = None
    images_needed: int | None = None
    recommended: str | None = None


def judge(study: Study, budget: float = BUDGET) -> Verdict:
    """The verdict on the best INT8 file of a run.

    INT8 pays when its latency over that of the fastest floating-point file has an interval under
    1 and the drop's interval ends within the budget. A timing that is not valid proves nothing.

    Args:
        study: the run.
        budget: points of top-1 that the upper end of the drop's interval may reach.
    """
    floats = rivals(study, budget)
    rival = fastest(floats)
    judged = [(e, (is_faster(e, floats, study), is_right(e, study, budget))) for e in study.int8]
    if not judged:
        entry, nothing = None, "the run made no INT8 file"
        checks = {"INT8": Check(None, nothing, nothing)}
    else:
        entry, found = max(judged, key=lambda j: _merit(j[0], all_hold(j[1]), rival, study))
        checks = dict(zip(("Speed", "Accuracy"), found, strict=True))
    pays = all_hold(checks.values())
    ship = None if pays is None else entry if pays else rival
    reasons = [f"{about}: {c.why}." for about, c in checks.items()]
    reasons += (
        f"Not counted: {e.phrase}, since {is_right(e, study, budget).brief}."
        for e in study.floats
        if e not in floats
    )
    if ship:
        where = "there" if study.on_device else "on machines like this"
        reasons.append(f"Ship {ship.file} ({ship.label}) {where}.")
    sentence = _sentence(entry, list(checks.values()), rival, study)
    if ship and not pays:
        sentence = clean(f"{sentence.removesuffix('.')}; ship {ship.file} instead.")
    return Verdict(
        sentence=sentence,
        pays=pays,
        reasons=tuple(map(clean, reasons)),
        budget=budget,
        artifact=entry.name if entry else None,
        base=study.base.name if study.base else None,
        rival=rival.name if rival else None,
        recommended=ship.name if ship else None,
        images_needed=next((c.images_needed for c in checks.values() if c.images_needed), None),
    )


def _merit(entry: Entry, pays: bool | None, rival: Entry | None, study: Study) -> tuple[int, float]:
    """Which of several INT8 files is judged: one that pays before others, then the fastest."""
    found = speed(entry, rival, study) if rival else None
    return (0 if pays is False else 2 if pays else 1), found.times if found else 0.0


def _sentence(
    entry: Entry | None, checks: Sequence[Check], rival: Entry | None, study: Study
) -> str:
    pays = all_hold(checks)
    parts = [] if pays else ["; ".join(c.brief for c in checks if c.holds is pays)]
    if entry:
        parts += _facts(entry, rival, study)
    lead = "Cannot tell whether INT8 paid"
    if pays is not None:
        lead = "INT8 paid" if pays else "INT8 did not pay"
    return clean(f"{lead} {_place(study)}: {'; '.join(parts)}.")


def _place(study: Study) -> str:
    """Where what counts was timed, or is yet to be."""
    if study.away:
        return f"on {study.away}"
    if study.on_device:
        model = study.bench.device.model if study.bench.device else ""
        return f"on {study.bench.results[0].device}" + (f" ({model})" if model else "")
    env = study.bench.environment
    return f"on this machine ({isa_label(env)})" if env and env.isa else "on this machine"


def _facts(entry: Entry, rival: Entry | None, study: Study) -> list[str]:
    """How fast, how small and how right it is, as far as that is known and valid."""
    what = f"{study.summary.model} {entry.label}"
    facts = []
    runs = _runs(entry, rival, study)
    if runs:
        facts.append(f"{what} runs {runs}")
    if entry.comparison:
        drop = entry.comparison.drop
        whose = "its top-1" if runs else f"the top-1 of {what}"
        gain = "that is, a gain; " if drop.points < 0 else ""
        facts.append(
            f"{whose} is {number(entry.comparison.top1, 2)} %, a drop of "
            f"{number(drop.points, 2)} points ({gain}95 % interval {span(*drop.ci95, 2)}, "
            f"n = {study.summary.compare.n:,}: {drop.lost:,} lost, {drop.gained:,} gained)"
        )
    return facts


def _runs(entry: Entry, rival: Entry | None, study: Study) -> str:
    """`1.62x as fast as … (95 % interval …) at 0.31x its size, and 1.38x as fast as … (…)`."""
    parts: list[str] = []
    for other in dict.fromkeys((study.base, rival)):
        found = speed(entry, other, study) if other else None
        if other is None or found is None or not found.valid:
            continue
        value, interval = times(found.times, found.low, found.high)
        level = "" if parts else "95 % interval "
        size = ""
        if not parts and entry.artifact and other.artifact and other.artifact.size_bytes:
            ratio = entry.artifact.size_bytes / other.artifact.size_bytes
            size = f" at {number(ratio, 2)}x its size"
        parts.append(f"{value} as fast as {other.phrase} ({level}{interval}){size}")
    return ", and ".join(parts)
