"""Results as CSV or Parquet: a row for each artifact and device."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from edgenext.report.ci.metrics import metrics
from edgenext.report.ci.results import ResultRow
from edgenext.report.text import clean, spreadsheet_text

FACTS = (
    *("images", "n", "top5", "loss", "lost", "gained", "p_value", "interval", "cosine", "kl"),
    *("p90_ms", "p99_ms", "load_ms", "first_ms", "peak_rss_mb", "valid", "reasons"),
)
"""Columns after those of the metrics."""
NAMES = (
    *("command", "artifact", "file", "device", "unit", "scheme", "runtime", "evidence"),
    *("threads", "batch", "sha256"),
)
"""Columns before them."""
COUNTS = ("threads", "batch", "n", "lost", "gained")
"""Columns of whole numbers."""
TEXTS = (*(name for name in NAMES if name not in COUNTS), "images", "interval", "valid", "reasons")
"""Columns of text; all others are of numbers."""


def csv_table(command: str, rows: Sequence[ResultRow]) -> str:
    """All results; every table has the same columns, empty where nothing was measured.

    A metric with an interval has three: the value, `_low` and `_high`.
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns(), lineterminator="\n", restval="")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {
                name: spreadsheet_text(value) if isinstance(value, str) else value
                for name, value in _cells(command, row)
            }
        )
    return stream.getvalue()


def parquet_table(command: str, rows: Sequence[ResultRow]) -> bytes:
    """The same in columns with types, null where nothing was measured; it needs pyarrow."""
    import pyarrow
    from pyarrow import parquet

    kinds = {str: pyarrow.string(), int: pyarrow.int64(), float: pyarrow.float64()}
    schema = pyarrow.schema([(name, kinds[_kind(name)]) for name in columns()])
    records = [
        {name: _kind(name)(value) for name, value in _cells(command, row) if value != ""}
        for row in rows
    ]
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(pyarrow.Table.from_pylist(records, schema=schema), sink)
    return bytes(sink.getvalue())


def _kind(column: str) -> type[str] | type[int] | type[float]:
    """The type of a column's values."""
    if column in TEXTS:
        return str
    return int if column in COUNTS else float


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
            yield name, clean(fact) if isinstance(fact, str) else fact
    for name, measure in row.measures.items():
        values = {name: measure.value, f"{name}_low": measure.low, f"{name}_high": measure.high}
        for column, value in values.items():
            if column in known and value is not None:
                yield column, value
