"""The report as Markdown: the same text and tables as the page, without the plots."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from edgenext.report import kept_float
from edgenext.report.attribution import attribution_table
from edgenext.report.devices import COLUMNS as DEVICE_COLUMNS
from edgenext.report.devices import DeviceTable, device_tables
from edgenext.report.expected import expectation_text
from edgenext.report.findings import Findings
from edgenext.report.glossary import glossary
from edgenext.report.provenance import Section, provenance
from edgenext.report.study import Study
from edgenext.report.tables import Cell, FigureRow, ResultTable, result_table
from edgenext.report.text import clean, prose
from edgenext.report.twin import twin_table
from edgenext.schema import Verdict


def markdown(study: Study, verdict: Verdict) -> str:
    """GitHub-flavoured Markdown; every text is escaped."""
    table = result_table(study)
    lines = [
        f"# {_text(study.summary.model)}",
        "",
        *_verdict(study, verdict),
        *_results(table),
        *_findings(attribution_table(study)),
        *_findings(twin_table(study)),
    ]
    for device in device_tables(study):
        lines += _device(device)
    lines += _calibration_warnings(study)
    lines += _float_sites(study)
    lines += ["", "## How to read this", ""]
    terms = glossary(study, verdict, table.evidence)
    lines += (f"- **{_text(term)}**: {_text(meaning)}" for term, meaning in terms)
    lines += ["", "## Where the figures come from"]
    for section in provenance(study):
        lines += ["", *_section(section)]
    return "\n".join(lines) + "\n"


def _verdict(study: Study, verdict: Verdict) -> Iterator[str]:
    yield f"**{_text(verdict.sentence)}**"
    yield ""
    yield from _items(verdict.reasons)
    if expectation := expectation_text(study, verdict):
        yield from ("", _prose(expectation))


def _results(table: ResultTable) -> Iterator[str]:
    yield from ("", "## Results", "")
    yield from _table(table)
    if table.notes:
        yield ""
        yield from _items(table.notes)


def _findings(table: Findings | None) -> Iterator[str]:
    if table is None:
        return
    yield from ("", f"## {_text(table.title)}", "", _prose(table.about), "")
    yield from (f"- {_prose(finding)}" for finding in table.findings)
    yield ""
    yield _joined(table.columns)
    yield _joined(("---", "---", *("---:" for _ in table.columns[2:])))
    yield from (_joined(map(_text, row)) for row in table.rows)
    yield from ("", _prose(table.note))


def _device(table: DeviceTable) -> Iterator[str]:
    yield from ("", f"## {_text(table.title)}", "")
    yield _joined(DEVICE_COLUMNS)
    yield _joined(("---", *("---:" for _ in DEVICE_COLUMNS[1:])))
    yield from (_joined(_cell(cell, with_evidence=False) for cell in row) for row in table.rows)
    yield ""
    yield from _items(table.notes)


def _calibration_warnings(study: Study) -> Iterator[str]:
    if warnings := kept_float.warnings(study):
        yield from ("", f"## {kept_float.WARNINGS_TITLE}", "")
        yield from _items(warnings)


def _float_sites(study: Study) -> Iterator[str]:
    if rows := kept_float.float_sites(study):
        yield from ("", f"## {kept_float.TITLE}", "")
        yield from (f"- {_text(row.short)}: {_text(row.reason)}" for row in rows)


def _items(texts: Iterable[str]) -> Iterator[str]:
    return (f"- {_text(text)}" for text in texts)


def _text(text: str) -> str:
    """Text that Markdown shows unchanged, in a table too."""
    escaped = re.sub(r"([\\`*\[\]|~])", r"\\\1", clean(text))
    # An underscore inside a word is no markup.
    escaped = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", escaped)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _prose(text: str) -> str:
    return prose(text, _text, _code)


def _code(text: str) -> str:
    """Text in a code span, with a fence longer than any run of backticks in it."""
    code = clean(text).replace("|", "\\|")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", code)), default=0))
    pad = " " if "`" in code else ""
    return f"{fence}{pad}{code}{pad}{fence}"


def _table(table: ResultTable) -> Iterator[str]:
    yield _joined(("Figure", *map(_text, table.columns), "Evidence"))
    yield _joined(("---", *("---:" for _ in table.columns), "---"))
    for group in table.groups:
        yield _joined((f"**{_text(group.title)}**", *("" for _ in table.columns), ""))
        for row in group.rows:
            yield _row(row)


def _row(row: FigureRow) -> str:
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
