"""The run's files on the devices they were measured on, beside published figures."""

from __future__ import annotations

from collections.abc import Iterator

from edgenext.report.speed import interval
from edgenext.report.study import Study
from edgenext.report.tables import Cell, CellTable
from edgenext.report.text import (
    enumerated,
    milliseconds,
    number,
    reasons_once,
    span,
    times,
)
from edgenext.schema import BenchReport, BenchResult, Published

COLUMNS = (
    *("File", "Unit", "p50, ms", "Speed, first file = 1", "Energy, mJ", "Top-1, %"),
    *("Drop, points", "Evidence"),
)


def device_tables(study: Study) -> list[CellTable]:
    """A table for each device that the run's files were measured on."""
    return [_device_table(report, study) for report in study.summary.devices if report.results]


def _device_table(report: BenchReport, study: Study) -> CellTable:
    model = report.device.model if report.device else ""
    name = report.results[0].device
    own = {a.sha256 for a in study.summary.artifacts}
    rows = [_result_row(result, report) for result in report.results]
    rows += map(_published_row, report.published)
    notes = [*_notes(report)]
    notes += [
        f"{r.artifact} is not a file of this run" for r in report.results if r.sha256 not in own
    ]
    notes += list(dict.fromkeys(f"Published: {row.source}" for row in report.published))
    columns: tuple[str, ...] = COLUMNS
    evidence = {row[-1].text for row in rows}
    if len(evidence) == 1:  # the same in every row: said once
        columns, rows = COLUMNS[:-1], [row[:-1] for row in rows]
        notes.append(f"Evidence of every figure: {evidence.pop()}")
    title = f"On {name}" + (f", {model}" if model else "")
    return CellTable(title, columns, tuple(rows), tuple(notes))


def _result_row(result: BenchResult, report: BenchReport) -> tuple[Cell, ...]:
    first = report.results[0]
    ratio = next(
        (r for r in report.ratios if (r.a, r.b) == (first.artifact, result.artifact)), None
    )
    speed = Cell("1") if result is first and report.ratios else Cell()
    if ratio:
        speed = Cell(*times(ratio.median, *interval(ratio, report)), struck=not ratio.valid)
    latency = (
        Cell(milliseconds(result.p50_ms), struck=not result.valid) if result.latency_ms else Cell()
    )
    energy = result.telemetry.energy_mj if result.telemetry else None
    scores = {s.artifact: s for s in report.eval.results} if report.eval else {}
    drops = {c.artifact: c.drop for c in report.compare.others} if report.compare else {}
    score, drop = scores.get(result.artifact), drops.get(result.artifact)
    return (
        Cell(result.artifact),
        Cell(result.unit or result.unit_asked),
        latency,
        speed,
        Cell(number(energy, 1)) if energy is not None else Cell(),
        Cell(number(score.top1, 2), f"n = {score.n:,}") if score else Cell(),
        Cell(number(drop.points, 2), span(*drop.ci95, 2)) if drop else Cell(),
        Cell(result.evidence),
    )


def _published_row(row: Published) -> tuple[Cell, ...]:
    return (
        Cell(f"{row.arch}, {row.size}"),
        Cell(row.device),
        Cell(milliseconds(row.ms)),
        *(Cell(),) * 4,
        Cell("published"),
    )


def _notes(report: BenchReport) -> Iterator[str]:
    for names, reason in reasons_once((r.artifact, r.reasons) for r in report.results):
        verb = "is" if len(names) == 1 else "are"
        yield f"{enumerated(names)} {verb} not valid: {reason}"
    for result in report.results:
        if sustained := result.sustained:
            yield (
                f"{result.artifact} ran for {number(sustained.seconds / 60, 1)} minutes: its last "
                f"third took {number(100 * sustained.drift, 1)} % longer than its first"
            )
    if report.device:
        yield from report.device.notes
