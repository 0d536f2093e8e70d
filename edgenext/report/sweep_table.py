"""The table of a sweep as Parquet and CSV: a row for each point, a column for each field."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import get_args

from edgenext.report.text import clean, spreadsheet_text
from edgenext.schema import SweepRow


def column_types() -> dict[str, type]:
    """The type of each column's values, by name."""
    types = {}
    for name, field in SweepRow.model_fields.items():
        kinds = [kind for kind in get_args(field.annotation) if isinstance(kind, type)]
        kinds = [kind for kind in kinds if kind is not type(None)]
        types[name] = kinds[0] if kinds else str
        if isinstance(field.annotation, type):
            types[name] = field.annotation
    return types


def sweep_parquet(rows: Sequence[SweepRow]) -> bytes:
    """The rows in columns with types, null where nothing was measured; it needs pyarrow."""
    import pyarrow
    from pyarrow import parquet

    kinds = {
        str: pyarrow.string(),
        int: pyarrow.int64(),
        float: pyarrow.float64(),
        bool: pyarrow.bool_(),
    }
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in column_types().items()])
    table = pyarrow.Table.from_pylist([row.model_dump() for row in rows], schema=schema)
    sink = pyarrow.BufferOutputStream()
    parquet.write_table(table, sink)
    return bytes(sink.getvalue())


def sweep_csv(rows: Sequence[SweepRow]) -> str:
    """The same for spreadsheets, empty where nothing was measured."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(SweepRow.model_fields), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        values = row.model_dump()
        writer.writerow(
            {
                name: spreadsheet_text(clean(value)) if isinstance(value, str) else value
                for name, value in values.items()
            }
        )
    return stream.getvalue()
