"""Results as CSV: a row for each artifact and device."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from edgenext.report.ci.metrics import metrics
from edgenext.report.ci.results import ResultRow
from edgenext.report.text import spreadsheet_text

FACTS = (
    *("images", "n", "top5", "loss", "lost", "gained", "p_value", "cosine", "kl"),
    *("p90_ms", "p99_ms", "load_ms", "first_ms", "peak_rss_mb", "valid", "reasons"),
)
"""Columns after those of the metrics."""
NAMES = (
    *("command", "artifact", "file", "device", "unit", "scheme", "runtime", "evidence"),
    *("threads", "batch", "sha256"),
)
"""Columns before them."""


def csv_table(command: str, rows: Sequence[ResultRow]) -> str:
    """All results; every table has the same columns, empty where nothing was measured.

    A metric with an interval has three: the value, `_low` and `_high`.
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns(), lineterminator="\n", restval="")
    writer.writeheader()
    for row in rows:
        writer.writerow(dict(_cells(command, row)))
    return stream.getvalue()


def columns() -> list[str]:
    """The columns of every table."""
    measured: list[str] = []
    for name, metric in metrics().items():
        if not metric.is_word:
            ends = ("", "_low", "_high") if metric.interval else ("",)
            measured += (name + end for end in ends)
    return [*NAMES, *measured, *FACTS]


def _cells(command: str, row: ResultRow) -> Iterator[tuple[str, str | float]]:
    known = set(columns())
    names = {"command": command, "artifact": row.artifact, "device": row.device}
    for name, fact in (*names.items(), *row.facts.items()):
        if name in known:
            yield name, spreadsheet_text(fact) if isinstance(fact, str) else fact
    for name, measure in row.measures.items():
        values = {name: measure.value, f"{name}_low": measure.low, f"{name}_high": measure.high}
        for column, value in values.items():
            if column in known and value is not None:
                yield column, value
