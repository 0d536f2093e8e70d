"""Whether INT8 paid, for a drop within the budget, and which file to ship."""

from __future__ import annotations

from collections.abc import Sequence

from edgenext.benchmark.environment import isa_label
from edgenext.options import DEFAULT_MAX_DROP
from edgenext.report.conditions import (
    Condition,
    all_hold,
    floats_to_beat,
    is_accurate,
    is_faster,
)
from edgenext.report.headline import ACCURACY, DECISIONS, SPEED, Judgement, headline
from edgenext.report.speed import fastest, speed
from edgenext.report.study import Entry, Study
from edgenext.report.text import clean, decided_after, interval_name, number, span, times
from edgenext.schema import Verdict


def judge(study: Study, budget: float = DEFAULT_MAX_DROP) -> Verdict:
    """The verdict on the best INT8 file of a run.

    INT8 pays when the interval of its speed relative to the fastest floating-point file, which
    includes the noise floor, is above 1 and the interval of its drop ends within the budget. A
    timing that is not valid proves nothing.

    Args:
        study: the run.
        budget: points of top-1 that the upper end of the drop's interval may reach.
    """
    floats = floats_to_beat(study, budget)
    fastest_float = fastest(floats)
    entry, conditions = _best_int8(study, floats, budget)
    pays = all_hold(conditions.values())
    ship = None if pays is None else entry if pays else fastest_float
    reasons = [f"{name}: {c.reason}." for name, c in conditions.items()]
    reasons += (
        f"Not counted: {e.phrase}, since {is_accurate(e, study, budget).brief}."
        for e in study.floats
        if e not in floats
    )
    if ship:
        place = "there" if study.on_device else "on machines like this"
        reasons.append(f"Ship {ship.file} ({ship.label}) {place}.")
    sentence = _sentence(entry, list(conditions.values()), fastest_float, study)
    if ship and not pays:
        sentence = clean(f"{sentence.removesuffix('.')}; ship {ship.file} instead.")
    needed = (c.images_needed for c in conditions.values() if c.images_needed)
    return Verdict(
        sentence=sentence,
        pays=pays,
        reasons=tuple(map(clean, reasons)),
        budget=budget,
        artifact=entry.name if entry else None,
        base=study.base.name if study.base else None,
        rival=fastest_float.name if fastest_float else None,
        recommended=ship.name if ship else None,
        images_needed=next(needed, None),
        decision=DECISIONS[pays],
        lines=headline(Judgement(study, entry, conditions, pays, ship, fastest_float, budget)),
    )


def _best_int8(
    study: Study, floats: Sequence[Entry], budget: float
) -> tuple[Entry | None, dict[str, Condition]]:
    """The INT8 file that is judged, with its conditions: one that pays, else the fastest.

    Of files with no measurable difference from the fastest, it is the one nearest to the base.
    """
    candidates = [
        (e, {SPEED: is_faster(e, floats, study), ACCURACY: is_accurate(e, study, budget)})
        for e in study.int8
    ]
    if not candidates:
        reason = "the run made no INT8 file"
        return None, {"INT8": Condition(None, reason, reason)}
    fastest_float = fastest(floats)

    def outcome(candidate: tuple[Entry, dict[str, Condition]]) -> int:
        pays = all_hold(candidate[1].values())
        return 0 if pays is False else 2 if pays else 1

    def times_as_fast(candidate: tuple[Entry, dict[str, Condition]]) -> float:
        measured = speed(candidate[0], fastest_float, study) if fastest_float else None
        return measured.times if measured else 0.0

    best = max(map(outcome, candidates))
    candidates = [c for c in candidates if outcome(c) == best]
    first = max(candidates, key=times_as_fast)

    def as_fast(entry: Entry) -> bool:
        measured = speed(entry, first[0], study)
        return measured is not None and measured.valid and not measured.distinguishable

    return max(
        (c for c in candidates if c is first or as_fast(c[0])),
        key=lambda c: c[0].comparison.sqnr_db if c[0].comparison else 0.0,
    )


def _sentence(
    entry: Entry | None,
    conditions: Sequence[Condition],
    fastest_float: Entry | None,
    study: Study,
) -> str:
    pays = all_hold(conditions)
    parts = [] if pays else ["; ".join(c.brief for c in conditions if c.holds is pays)]
    if entry:
        parts += _facts(entry, fastest_float, study)
    lead = "Cannot tell whether INT8 paid"
    if pays is not None:
        lead = "INT8 paid" if pays else "INT8 did not pay"
    return clean(f"{lead} {_place(study)}: {'; '.join(parts)}.")


def _place(study: Study) -> str:
    """The machine or device that the verdict is about."""
    if study.away:
        return f"on {study.away}"
    if study.on_device:
        model = study.bench.device.model if study.bench.device else ""
        return f"on {study.bench.results[0].device}" + (f" ({model})" if model else "")
    env = study.bench.environment
    return f"on this machine ({isa_label(env)})" if env and env.isa else "on this machine"


def _facts(entry: Entry, fastest_float: Entry | None, study: Study) -> list[str]:
    """How fast, how small and how accurate the file is, as far as that is known and valid."""
    name = f"{study.summary.model} {entry.label}"
    facts = []
    comparisons = _speeds(entry, fastest_float, study)
    if comparisons:
        facts.append(f"{name} runs {comparisons}")
    if entry.comparison:
        drop = entry.comparison.drop
        subject = "its top-1" if comparisons else f"the top-1 of {name}"
        gain = "that is, a gain; " if drop.points < 0 else ""
        facts.append(
            f"{subject} is {number(entry.comparison.top1, 2)} %, a drop of "
            f"{number(drop.points, 2)} points ({gain}{interval_name(drop)} {span(*drop.ci95, 2)}, "
            f"n = {study.summary.compare.n:,}{decided_after(entry.comparison.decision)}: "
            f"{drop.lost:,} lost, {drop.gained:,} gained)"
        )
    return facts


def _speeds(entry: Entry, fastest_float: Entry | None, study: Study) -> str:
    """`1.62x as fast as … (95 % interval …) at 0.31x its size, and 1.38x as fast as … (…)`."""
    parts: list[str] = []
    for other in dict.fromkeys((study.base, fastest_float)):
        measured = speed(entry, other, study) if other else None
        if other is None or measured is None or not measured.valid:
            continue
        value, interval = times(measured.times, measured.low, measured.high)
        level = "" if parts else "95 % interval "
        size = ""
        if not parts and entry.artifact and other.artifact and other.artifact.size_bytes:
            ratio = entry.artifact.size_bytes / other.artifact.size_bytes
            size = f" at {number(ratio, 2)}x its size"
        doubt = "" if measured.distinguishable else ", no measurable difference"
        parts.append(f"{value} as fast as {other.phrase} ({level}{interval}{doubt}){size}")
    return ", and ".join(parts)
