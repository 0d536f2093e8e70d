"""What a report says first, in four lines: the decision, speed, accuracy, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

from edgenext.benchmark.validity import MIN_ROUNDS
from edgenext.options import DEFAULT_FORMAT
from edgenext.report.by_target import fastest_by_target
from edgenext.report.conditions import Condition
from edgenext.report.speed import speed
from edgenext.report.study import Entry, Study
from edgenext.report.text import change_of, clean, decided_after, number, points, span, times
from edgenext.schema import Decision, Verdict

SPEED, ACCURACY = "Speed", "Accuracy"
"""Names of the two conditions of a verdict."""
MARKS = {True: "✓", False: "✗", None: "?"}
DECISIONS: dict[bool | None, Decision] = {True: "SHIP", False: "DO NOT SHIP", None: "NOT DECIDED"}
NEXT = "next: "
IN_FOLDER = "next, in the run’s folder: "
"""Before a command whose paths are relative to the run's folder."""
MEASURE_AGAIN = " --measure-again"
"""What makes the command of a finished run repeat its benchmark."""
MORE = 4
"""Times as many rounds make an interval half as wide."""


@dataclass(frozen=True)
class Judgement:
    """What was decided of a run, and from what.

    `entry` is the INT8 file that was judged, `conditions` are its speed and its accuracy (of a run
    without INT8 something else), `pays` is whether both hold. `ship` is the file to ship, if that
    is decided, `rival` the fastest floating-point file, `budget` in points of top-1.
    """

    study: Study
    entry: Entry | None
    conditions: Mapping[str, Condition]
    pays: bool | None
    ship: Entry | None
    rival: Entry | None
    budget: float


def headline(judgement: Judgement) -> tuple[str, ...]:
    """The four lines; where files of several targets compete, one more with each target's best."""
    entry, conditions = judgement.entry, judgement.conditions
    if entry is None:
        reason = next(iter(conditions.values())).brief
        lines = [f"{DECISIONS[None]}: {reason}", f"? speed: {reason}", f"? accuracy: {reason}"]
    else:
        fast, accurate = conditions[SPEED], conditions[ACCURACY]
        lines = [
            _decision(entry, judgement.pays, judgement.ship),
            f"{MARKS[fast.holds]} speed: {_speed(judgement, entry)}",
            f"{MARKS[accurate.holds]} accuracy: {_accuracy(judgement, entry)}",
        ]
    by_target = fastest_by_target(judgement.study, judgement.budget)
    lines += [f"  {by_target}"] if by_target else []
    return tuple(map(clean, (*lines, _next(judgement))))


def lines_in(verdict: Verdict, folder: Path) -> tuple[str, ...]:
    """The four lines for somebody who is not in the run's folder."""
    *lines, last = verdict.lines
    if last.startswith(IN_FOLDER):
        last = f"{NEXT}cd {shlex.quote(str(folder))} && {last.removeprefix(IN_FOLDER)}"
    return (*lines, last)


def next_parts(line: str) -> tuple[str, str]:
    """The last line's beginning, and its command."""
    start = IN_FOLDER if line.startswith(IN_FOLDER) else NEXT
    return start.strip(), line.removeprefix(start)


def _decision(entry: Entry, pays: bool | None, ship: Entry | None) -> str:
    """The decision and the file that it is about."""
    if pays is None:
        return f"{DECISIONS[None]}: {entry.file}"
    instead = f": ship {ship.file} instead" if ship and not pays else ""
    return f"{DECISIONS[pays]} {entry.file}{instead}"


def _speed(judgement: Judgement, entry: Entry) -> str:
    """How many times as fast as the fastest float file and as the base, or why that is unknown."""
    study, condition = judgement.study, judgement.conditions[SPEED]
    parts, is_told = [], condition.holds is not None
    for other in dict.fromkeys((judgement.rival, study.base)):
        measured = speed(entry, other, study) if other else None
        if other and measured and measured.valid:
            value, limits = times(measured.times, measured.low, measured.high)
            doubt = "" if measured.distinguishable else ": no measurable difference"
            is_told = is_told or bool(doubt)
            parts.append(f"{value} as fast as {other.label} ({limits}{doubt})")
    return "; ".join([*([] if is_told else [condition.brief]), *parts])


def _accuracy(judgement: Judgement, entry: Entry) -> str:
    comparison, condition = entry.comparison, judgement.conditions[ACCURACY]
    if comparison is None:
        return condition.brief
    drop, budget = comparison.drop, judgement.budget
    change, low, high = change_of(drop)
    text = (
        f"{number(abs(drop.points), 2)} points of top-1 {change} ({span(low, high, 2)}"
        f", n = {judgement.study.summary.compare.n:,}{decided_after(comparison.decision)})"
    )
    if condition.holds is None and drop.ci95[0] <= budget < drop.ci95[1]:
        return f"{text}: the interval includes the budget of {points(budget)}"
    if condition.holds is None:
        return f"{text}: {condition.brief}"
    return f"{text}, {'within' if condition.holds else 'over'} the budget of {points(budget)}"


def _next(judgement: Judgement) -> str:
    """The command that brings one further."""
    entry, rival, conditions = judgement.entry, judgement.rival, judgement.conditions
    study = judgement.study
    if entry is None:
        source = rival or study.base
        return f"{IN_FOLDER}edgenext quantize {_path(source)} --calib IMAGES"
    if judgement.pays is None and conditions[SPEED].holds is None:
        return _time_again(study, entry, rival)
    if judgement.pays is None:
        more = _compare(study, entry, conditions[ACCURACY], judgement.budget)
        return f"{IN_FOLDER}{more}"
    if conditions[ACCURACY].holds is False and _searchable(entry, rival):
        options = f"--calib IMAGES --data IMAGES --max-drop {judgement.budget:g}"
        return f"{IN_FOLDER}edgenext search {_path(rival)} {options}"
    chosen = judgement.ship or entry
    if study.target and study.target.place:
        return f"{IN_FOLDER}edgenext verify {_path(chosen)}"
    return f"{IN_FOLDER}edgenext predict {_path(chosen)} PHOTO.jpg"


def _time_again(study: Study, entry: Entry, rival: Entry | None) -> str:
    """How to decide about the speed: there, when it is quiet, or with more rounds."""
    files = " ".join(_path(e) for e in (rival or study.base, entry) if e)
    target = study.target
    if study.away and target and target.device:
        unit = f" --unit {target.unit}" if target.unit else ""
        results = f"devices/{target.device}.json"
        return f"{IN_FOLDER}edgenext bench {files} --device {target.device}{unit} -o {results}"
    timings = [e.bench for e in (entry, rival, study.base) if e and e.bench]
    if any(not bench.valid and bench.noisy for bench in timings) and study.summary.command:
        again = study.summary.command.removesuffix(MEASURE_AGAIN)
        return f"{NEXT}{again}{MEASURE_AGAIN}"
    done = max((len(bench.rounds) for bench in timings), default=0)
    rounds = MIN_ROUNDS if done < MIN_ROUNDS else MORE * done
    return f"{IN_FOLDER}edgenext bench {files} --rounds {rounds}"


def _compare(study: Study, entry: Entry, condition: Condition, budget: float) -> str:
    data = study.summary.compare.data
    text = f"edgenext compare {_path(study.base)} {_path(entry)} --data"
    if entry.comparison and entry.comparison.decision:
        return f"{text} MORE-IMAGES --max-drop {budget:g}"
    if data and condition.images_needed and condition.images_needed <= data.n_total:
        return f"{text} IMAGES --limit {condition.images_needed}"
    return f"{text} MORE-IMAGES"


def _searchable(entry: Entry, rival: Entry | None) -> bool:
    """Whether `quantize --max-drop` could find a better file of this kind."""
    made, source = entry.artifact, rival.artifact if rival else None
    return bool(
        made
        and source
        and rival
        and rival.scheme == "fp32"
        and made.format == source.format == DEFAULT_FORMAT
        and made.target.startswith("cpu-")
    )


def _path(entry: Entry | None) -> str:
    """The path of an entry's file, relative to the run's folder."""
    if entry is None or entry.artifact is None:
        return "FILE"
    path = PurePath(entry.artifact.artifact)
    return shlex.quote(path.name if path.is_absolute() else path.as_posix())
