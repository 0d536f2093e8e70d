"""Several runs, and the devices of each: a row for each file and device, in one table.

Timings are compared within one benchmark only: a speed is relative to the base of its own run, on
its own device. Nothing is divided by a timing of another machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from edgenext.benchmark.environment import isa_label
from edgenext.options import THIS_CPU
from edgenext.report.changes import Side
from edgenext.report.ci.metrics import Measure
from edgenext.report.ci.results import ResultRow, run_rows
from edgenext.report.evidence import EVIDENCE
from edgenext.report.plots.runs import JudgedRun
from edgenext.report.study import Entry
from edgenext.report.tables import Cell, CellTable
from edgenext.report.text import NOTHING, count, milliseconds, number, reasons_once, span, times
from edgenext.schema import Environment

DECISIONS = ("Run", "Network", "Decision", "File", "Drop, points", "Speed, base = 1", "Machine")
COLUMNS = (
    *("File, target", "Network, run", "Device, evidence", "Top-1, %", "Drop, points"),
    *("p50, ms", "Speed, base = 1", "MiB"),
)
NETWORK = 1
"""The column that says nothing of a single run."""
APART = (
    "A speed is relative to the base of the same run on the same device, which took turns with the "
    "file: latencies of different machines or runs are not divided by each other."
)


def decisions_table(sides: Sequence[Side]) -> CellTable:
    """What each run decided about its INT8 file."""
    return CellTable("What each run decided", DECISIONS, tuple(map(_decision, sides)), ())


def judged_runs(sides: Sequence[Side]) -> list[JudgedRun]:
    """Drop and speed of the INT8 file that each run judged."""
    runs = []
    for side in sides:
        measures = _judged_measures(side)
        drop, speed = (measures.get(name, Measure()) for name in ("drop", "speedup"))
        runs.append(JudgedRun(side.name, drop, speed))
    return runs


def _judged_measures(side: Side) -> Mapping[str, Measure]:
    rows = (row for row in _file_rows(side) if row.artifact == side.verdict.artifact)
    row = next(rows, None)
    return row.measures if row else {}


def side_by_side(sides: Sequence[Side]) -> CellTable:
    """Every file of every run on every device that it was measured on."""
    rows = [(side, row) for side in sides for row in _file_rows(side)]
    rows.sort(key=lambda pair: (pair[0].study.summary.model, _target(*pair), pair[1].artifact))
    kept = [i for i in range(len(COLUMNS)) if len(sides) > 1 or i != NETWORK]
    return CellTable(
        title="Every file on every device",
        columns=tuple(COLUMNS[i] for i in kept),
        rows=tuple(tuple(cells[i] for i in kept) for cells in (_row(*pair) for pair in rows)),
        notes=(APART, *_notes(sides, rows)),
    )


def _decision(side: Side) -> tuple[Cell, ...]:
    verdict, summary = side.verdict, side.study.summary
    measures = _judged_measures(side)
    return (
        Cell(side.name),
        Cell(summary.model),
        Cell(verdict.decision),
        Cell(_label(side, verdict.artifact) if verdict.artifact else NOTHING),
        _points(measures.get("drop")),
        _speed(measures.get("speedup")),
        Cell(_machine(summary.bench.environment)),
    )


def _file_rows(side: Side) -> Iterator[ResultRow]:
    """The rows that are about a file."""
    networks = {e.name for e in side.study.entries if e.kind == "network"}
    for row in run_rows(side.study, side.verdict):
        if row.measures.keys() != {"do_not_ship"} and row.artifact not in networks:
            yield row


def _entry(side: Side, name: str) -> Entry | None:
    return next((e for e in side.study.entries if e.name == name), None)


def _label(side: Side, name: str) -> str:
    entry = _entry(side, name)
    return entry.label if entry else name


def _target(side: Side, row: ResultRow) -> str:
    entry = _entry(side, row.artifact)
    return entry.artifact.target if entry and entry.artifact else ""


def _machine(env: Environment | None) -> str:
    return f"{env.cpu}, {isa_label(env)}" if env else "this machine’s CPU"


def _device(side: Side, row: ResultRow) -> str:
    if row.device == THIS_CPU:
        return _machine(side.study.summary.bench.environment)
    names = {r.results[0].device: r.device for r in side.study.summary.devices if r.results}
    facts = names.get(row.device)
    return f"{row.device}, {facts.model}" if facts and facts.model else row.device


def _row(side: Side, row: ResultRow) -> tuple[Cell, ...]:
    is_base = side.study.base is not None and row.artifact == side.study.base.name
    n, top1 = row.facts.get("n"), row.measures.get("top1")
    size = row.measures.get("size_mib")
    return (
        Cell(_label(side, row.artifact), _target(side, row)),
        Cell(side.study.summary.model, side.name),
        Cell(_device(side, row), str(row.facts.get("evidence", ""))),
        Cell(_number(top1, 2), f"n = {n:,}" if n and top1 else ""),
        Cell("base") if is_base and top1 else _points(row.measures.get("drop")),
        _latency(row.measures.get("p50_ms")),
        Cell("1") if is_base and "p50_ms" in row.measures else _speed(row.measures.get("speedup")),
        Cell(_number(size, 2)),
    )


def _number(measure: Measure | None, digits: int) -> str:
    return NOTHING if measure is None or measure.value is None else number(measure.value, digits)


def _points(measure: Measure | None) -> Cell:
    if measure is None or measure.value is None:
        return Cell()
    if measure.low is None or measure.high is None:
        return Cell(number(measure.value, 2), struck=True)
    return Cell(number(measure.value, 2), span(measure.low, measure.high, 2))


def _latency(measure: Measure | None) -> Cell:
    if measure is None or measure.value is None:
        return Cell()
    return Cell(milliseconds(measure.value), struck=measure.low is None)


def _speed(measure: Measure | None) -> Cell:
    if measure is None or measure.value is None:
        return Cell()
    if measure.low is None or measure.high is None:
        return Cell(f"{number(measure.value, 2)}x", struck=True)
    return Cell(*times(measure.value, measure.low, measure.high))


def _notes(sides: Sequence[Side], rows: Sequence[tuple[Side, ResultRow]]) -> Iterator[str]:
    sets = [side.study.summary.compare.data for side in sides]
    if len({data.sha256 if data else "" for data in sets}) > 1:
        yield (
            "The runs were scored on different images: a drop is relative to the base of its own "
            "run, and top-1 of two such runs is not compared."
        )
    several = len(sides) > 1
    reasons = (
        (
            _label(side, row.artifact) + (f" of {side.name}" if several else ""),
            [measure.reason],
        )
        for side, row in rows
        for name in ("drop", "p50_ms", "speedup")
        if (measure := row.measures.get(name)) and measure.reason
    )
    for names, reason in reasons_once(reasons):
        some = ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
        yield f"Struck out, {count(len(names), 'file')} ({some}): {reason}."
    for label in dict.fromkeys(str(row.facts.get("evidence", "")) for _, row in rows):
        if label in EVIDENCE:
            yield f"Evidence {label}: {EVIDENCE[label]}."
