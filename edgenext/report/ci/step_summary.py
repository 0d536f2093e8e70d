"""Results as a short Markdown text, such as the summary of a step in GitHub Actions."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgenext.report.ci.metrics import metrics
from edgenext.report.ci.results import ResultRow
from edgenext.report.markdown_text import table_row, text_of
from edgenext.schema import GateReport

_log = logging.getLogger(__name__)

MARKS = {"passed": "✓", "failed": "✗", "undecided": "?"}
SHOWN = {
    "top1": "Top-1, %",
    "drop": "Drop, points",
    "speedup": "Speed, base = 1",
    "p50_ms": "Latency p50, ms",
    "size_ratio": "Size, base = 1",
}
"""Metrics with a column, where any artifact has them."""


def add_summary(path: Path, text: str) -> None:
    """Add to a summary. Nobody waits for it: where it cannot be written, that is only logged."""
    try:
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "it is not a file")
        with path.open("a", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as e:
        _log.warning("no summary was written to %s: %s", path, e.strerror)


def step_summary(report: GateReport, rows: Sequence[ResultRow], lines: Sequence[str] = ()) -> str:
    """A heading, what became of the conditions, and the results.

    Args:
        report: the conditions.
        rows: all results.
        lines: what a run's report says first.
    """
    title = f"### edgenext {text_of(report.command)}"
    if report.cases:
        title += f": {MARKS[report.outcome]} {report.outcome}"
    parts = [
        [title],
        [f"- {text_of(line)}" for line in lines],
        [*_cases(report)],
        [*_results(rows)],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n\n"


def _cases(report: GateReport) -> Iterator[str]:
    if not report.cases:
        return
    yield from (table_row(("", "Fail if", "Artifact", "Measured")), table_row(("---",) * 4))
    for case in report.cases:
        mark = MARKS[case.outcome]
        yield table_row((mark, *map(text_of, (case.condition, case.artifact, case.detail))))


def _results(rows: Sequence[ResultRow]) -> Iterator[str]:
    shown = {k: v for k, v in SHOWN.items() if any(k in row.measures for row in rows)}
    places = {row.device for row in rows}
    heads = ("Artifact", *(("Device",) if len(places) > 1 else ()), *shown.values())
    yield table_row(heads)
    yield table_row("---" if i == 0 else "---:" for i in range(len(heads)))
    for row in rows:
        device = (row.device,) if len(places) > 1 else ()
        cells = (_cell(row, name) for name in shown)
        yield table_row(map(text_of, (row.artifact, *device, *cells)))


def _cell(row: ResultRow, name: str) -> str:
    """A value with its interval, without the unit that its column names."""
    measure = row.measures.get(name)
    if measure is None or measure.value is None:
        return ""
    unit = metrics()[name].unit
    return measure.shown(metrics()[name]).replace(f" {unit}", "", 1)
