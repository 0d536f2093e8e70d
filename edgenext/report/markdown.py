"""The report as Markdown: the same sentence, table and provenance, without the plots."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from edgenext.report import kept_float as kept
from edgenext.report.devices import COLUMNS as DEVICE_COLUMNS
from edgenext.report.devices import device_tables
from edgenext.report.expected import expected
from edgenext.report.glossary import reading
from edgenext.report.provenance import Section, provenance
from edgenext.report.study import Study
from edgenext.report.tables import Cell, Row, Table, results
from edgenext.report.text import clean, prose
from edgenext.report.twin import COLUMNS, TITLE, twin_table
from edgenext.report.verdict import Verdict


def markdown(study: Study, verdict: Verdict) -> str:
    """GitHub-flavoured Markdown; every text is escaped."""
    table = results(study)
    lines = [f"# {_text(study.summary.model)}", "", f"**{_text(verdict.sentence)}**", ""]
    lines += (f"- {_text(reason)}" for reason in verdict.reasons)
    if beside := expected(study, verdict):
        lines += ["", _prose(beside)]
    lines += ["", "## Results", "", *_table(table)]
    if table.notes:
        lines += ["", *(f"- {_text(note)}" for note in table.notes)]
    if twin := twin_table(study):
        lines += ["", f"## {TITLE}", "", _prose(twin.about), ""]
        lines += (f"- {_prose(finding)}" for finding in twin.findings)
        lines.append("")
        lines += [_joined(COLUMNS), _joined(("---", "---", *("---:" for _ in COLUMNS[2:])))]
        lines += (_joined(map(_text, row)) for row in twin.rows)
        lines += ["", _prose(twin.note)]
    for device in device_tables(study):
        lines += ["", f"## {_text(device.title)}", ""]
        lines += [_joined(DEVICE_COLUMNS), _joined(("---", *("---:" for _ in DEVICE_COLUMNS[1:])))]
        lines += (_joined(_cell(cell, with_evidence=False) for cell in row) for row in device.rows)
        lines += ["", *(f"- {_text(note)}" for note in device.notes)]
    if warned := kept.warnings(study):
        lines += ["", f"## {kept.WARNED}", "", *(f"- {_text(warning)}" for warning in warned)]
    if rows := kept.kept_rows(study):
        lines += ["", f"## {kept.TITLE}", ""]
        lines += (f"- {_text(row.short)}: {_text(row.reason)}" for row in rows)
    lines += ["", "## How to read this", ""]
    terms = reading(study, verdict, table.evidence)
    lines += (f"- **{_text(term)}**: {_text(meaning)}" for term, meaning in terms)
    lines += ["", "## Where it comes from"]
    for section in provenance(study):
        lines += ["", *_section(section)]
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    """Text that Markdown shows as it is, in a table too."""
    escaped = re.sub(r"([\\`*\[\]|~])", r"\\\1", clean(text))
    # An underscore inside a word is only itself.
    escaped = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", escaped)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _prose(text: str) -> str:
    return prose(text, _text, _code)


def _code(text: str) -> str:
    """Text in a code span, fenced by more backticks than it holds."""
    kept = clean(text).replace("|", "\\|")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", kept)), default=0))
    pad = " " if "`" in kept else ""
    return f"{fence}{pad}{kept}{pad}{fence}"


def _table(table: Table) -> Iterator[str]:
    yield _joined(("Figure", *map(_text, table.columns), "Evidence"))
    yield _joined(("---", *("---:" for _ in table.columns), "---"))
    for group in table.groups:
        yield _joined((f"**{_text(group.title)}**", *("" for _ in table.columns), ""))
        for row in group.rows:
            yield _row(row)


def _row(row: Row) -> str:
    mixed = len(row.evidence) > 1
    cells = (_cell(cell, mixed) for cell in row.cells)
    return _joined((_text(row.head), *cells, "" if mixed else _text("".join(row.evidence))))


def _cell(cell: Cell, with_evidence: bool) -> str:
    text = _text(f"{cell.text} ({cell.note})" if cell.note else cell.text)
    if cell.struck:
        text = f"~~{text}~~"
    return f"{text} {cell.evidence}" if with_evidence and cell.evidence else text


def _joined(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _section(section: Section) -> Iterator[str]:
    yield f"### {_text(section.title)}"
    yield ""
    yield "| | |"
    yield "| --- | --- |"
    for fact in section.facts:
        yield _joined((_text(fact.name), _code(fact.value) if fact.code else _text(fact.value)))
