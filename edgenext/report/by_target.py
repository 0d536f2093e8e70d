"""The fastest file of each target, where a run made files for several."""

from __future__ import annotations

from collections.abc import Iterator

from edgenext.options import ENGINE
from edgenext.report.conditions import is_accurate
from edgenext.report.speed import Speed, speed
from edgenext.report.study import Entry, Study
from edgenext.report.text import clean, times


def fastest_by_target(study: Study, budget: float) -> str:
    """Each target's fastest file within the budget, the fastest target first.

    Empty where the run has files of one target, or nothing was timed.

    Args:
        study: the run.
        budget: points of top-1 that the upper end of a drop's interval may reach.
    """
    targets = dict.fromkeys(e.artifact.target for e in study.entries if e.artifact and _is_own(e))
    if len(targets) < 2 or study.base is None:
        return ""
    fastest = [best for target in targets for best in _fastest(study, target, budget)]
    fastest.sort(key=lambda pair: -pair[1].times)
    parts = [
        f"{entry.artifact.target} {value} ({entry.scheme}, {limits})"
        for entry, measured in fastest
        if entry.artifact
        for value, limits in [times(measured.times, measured.low, measured.high)]
    ]
    if not parts:
        return ""
    return clean(f"the fastest by target, {study.base.label} = 1: {'; '.join(parts)}")


def _fastest(study: Study, target: str, budget: float) -> Iterator[tuple[Entry, Speed]]:
    """The fastest file of a target within the budget; none if it has no valid timing."""
    assert study.base is not None  # noqa: S101 - the caller has looked
    measured = [
        (entry, value)
        for entry in study.entries
        if entry is not study.base and entry.artifact and entry.artifact.target == target
        if _is_own(entry) and (entry.scheme == "fp32" or is_accurate(entry, study, budget).holds)
        if (value := speed(entry, study.base, study)) and value.valid
    ]
    if measured:
        yield max(measured, key=lambda pair: pair[1].times)


def _is_own(entry: Entry) -> bool:
    """Whether no other quantizer made the file."""
    return entry.artifact is not None and entry.artifact.engine in ("", ENGINE)
