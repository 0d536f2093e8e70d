"""The files of a run: which of many are columns of the tables, and a table with a row for each."""

from __future__ import annotations

from dataclasses import replace

from edgenext.report.speed import fastest, speed
from edgenext.report.study import UNTIMED, Entry, Study
from edgenext.report.tables import Cell, CellTable
from edgenext.report.text import (
    count,
    decibels,
    mebibytes,
    milliseconds,
    number,
    span,
    times,
)
from edgenext.schema import Verdict

MOST_COLUMNS = 8
"""Files that are compared column by column, and drawn with a line of their own."""
COLUMNS = (
    *("File", "Scheme", "Top-1, %", "Drop, points", "SQNR, dB"),
    *("p50, ms", "Speed, {base} = 1", "MiB"),
)


def main_study(study: Study, verdict: Verdict) -> Study:
    """The study with its main files alone, if there are more than a table has room for.

    They are the base, the fastest floating-point file, and what the verdict is about, then the
    others in their order.
    """
    if len(study.entries) <= MOST_COLUMNS:
        return study
    names = {verdict.base, verdict.rival, verdict.recommended, verdict.artifact}
    quickest = fastest(study.floats)
    first = [e for e in study.entries if e.name in names or e is quickest]
    others = [e for e in study.entries if e not in first]
    chosen = {*first, *others[: max(0, MOST_COLUMNS - len(first))]}
    return replace(study, entries=tuple(e for e in study.entries if e in chosen))


def files_table(study: Study) -> CellTable:
    """A row for each file."""
    base = study.base.label if study.base else "base"
    return CellTable(
        title="All files",
        columns=tuple(name.format(base=base) for name in COLUMNS),
        rows=tuple(_row(entry, study) for entry in study.entries),
        notes=(
            f"The run has {count(len(study.entries), 'file')}: {MOST_COLUMNS} of them are in the "
            "table of results and in the plots.",
        ),
    )


def _row(entry: Entry, study: Study) -> tuple[Cell, ...]:
    top1 = entry.scores or entry.comparison
    return (
        Cell(entry.file),
        Cell(entry.scheme),
        Cell(number(top1.top1, 2)) if top1 else Cell(),
        _drop(entry, study),
        Cell(decibels(entry.comparison.sqnr_db)) if entry.comparison else Cell(),
        *_timing(entry, study),
        Cell(number(mebibytes(entry.artifact.size_bytes), 2)) if entry.artifact else Cell(),
    )


def _drop(entry: Entry, study: Study) -> Cell:
    if entry.comparison is None:
        return Cell("base") if entry is study.base else Cell()
    drop = entry.comparison.drop
    return Cell(number(drop.points, 2), span(*drop.ci95, 2))


def _timing(entry: Entry, study: Study) -> tuple[Cell, Cell]:
    """The median latency, and the speed relative to the base."""
    bench = entry.bench
    if bench is None or bench.evidence in UNTIMED:
        return Cell(), Cell()
    latency = Cell(milliseconds(bench.p50_ms), struck=not bench.valid)
    if entry is study.base:
        return latency, Cell("1")
    measured = speed(entry, study.base, study) if study.base else None
    if measured is None:
        return latency, Cell()
    value, interval = times(measured.times, measured.low, measured.high)
    return latency, Cell(value, interval, struck=not measured.valid)
