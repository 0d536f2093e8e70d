"""The report as Markdown: the same text and tables as the page, without the plots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from edgenext.report import kept_float
from edgenext.report.attribution import attribution_table
from edgenext.report.changes import changes_table
from edgenext.report.clipping import clipping_table
from edgenext.report.details import NO_DETAILS, Details
from edgenext.report.devices import device_tables
from edgenext.report.expected import expectation_text
from edgenext.report.files import files_table, main_study
from edgenext.report.findings import Findings
from edgenext.report.glossary import glossary
from edgenext.report.headline import next_parts
from edgenext.report.markdown_text import code_of, prose_of, table_row, text_of
from edgenext.report.provenance import Section, provenance
from edgenext.report.study import Study
from edgenext.report.tables import (
    Cell,
    CellTable,
    FigureRow,
    ResultTable,
    result_table,
    short_table,
)
from edgenext.report.twin import twin_table
from edgenext.schema import ChangeReport, Verdict


def markdown(
    study: Study,
    verdict: Verdict,
    changed: ChangeReport | None = None,
    details: Details = NO_DETAILS,
) -> str:
    """GitHub-flavoured Markdown; every text is escaped."""
    main = main_study(study, verdict)
    table = result_table(main)
    lines = [
        f"# {text_of(study.summary.model)}",
        "",
        *_verdict(study, verdict),
        *_results(table),
        *(_device(files_table(study)) if main is not study else ()),
        *findings_markdown(changes_table(changed)),
        *_answers(details),
        *findings_markdown(attribution_table(study)),
        *findings_markdown(twin_table(study)),
    ]
    for device in device_tables(study):
        lines += _device(device)
    lines += findings_markdown(clipping_table(study))
    lines += _calibration_warnings(study)
    lines += _float_sites(study)
    lines += ["", "## How to read this", ""]
    terms = glossary(study, verdict, table.evidence)
    lines += (f"- **{text_of(term)}**: {text_of(meaning)}" for term, meaning in terms)
    lines += ["", "## Where the figures come from"]
    lines += _folded(
        "Network, images, files with their hashes, machine, command",
        (line for section in provenance(study) for line in ("", *_section(section))),
    )
    return "\n".join(lines) + "\n"


def _verdict(study: Study, verdict: Verdict) -> Iterator[str]:
    """What to do, in four lines; why, folded."""
    decision, *reasons, last = verdict.lines
    start, command = next_parts(last)
    yield f"**{text_of(decision)}**"
    yield ""
    yield from _items(reasons)
    yield f"- {text_of(start)} {code_of(command)}"
    expectation = expectation_text(study, verdict)
    yield from _folded(
        "Why",
        [*_items(verdict.reasons), *(("", prose_of(expectation)) if expectation else ())],
    )


def _results(table: ResultTable) -> Iterator[str]:
    yield from ("", "## Results", "")
    yield from _table(short_table(table))
    if table.notes:
        yield ""
        yield from _items(table.notes)
    yield from _folded("All figures", _table(table))


def _answers(details: Details) -> Iterator[str]:
    """How many answers changed, and in which classes."""
    if details.images:
        yield from ("", "## Which answers changed", "", prose_of(details.images.about))
    if details.classes:
        yield from _folded(details.classes.title, list(findings_markdown(details.classes))[3:])


def _folded(title: str, lines: Iterable[str]) -> Iterator[str]:
    """Lines that are shown when their title is clicked on."""
    yield from ("", f"<details><summary>{title}</summary>", "")
    yield from lines
    yield from ("", "</details>")


def findings_markdown(table: Findings | None) -> Iterator[str]:
    """The lines of a section; none if there is no such section."""
    if table is None:
        return
    yield from ("", f"## {text_of(table.title)}", "", prose_of(table.about), "")
    yield from (f"- {prose_of(finding)}" for finding in table.findings)
    yield ""
    yield table_row(table.columns)
    yield table_row(("---", "---", *("---:" for _ in table.columns[2:])))
    yield from (table_row(map(text_of, row)) for row in table.rows)
    yield from ("", prose_of(table.note))


def _device(table: CellTable) -> Iterator[str]:
    yield from ("", f"## {text_of(table.title)}", "")
    yield table_row(table.columns)
    yield table_row(("---", *("---:" for _ in table.columns[1:])))
    yield from (table_row(_cell(cell, with_evidence=False) for cell in row) for row in table.rows)
    yield ""
    yield from _items(table.notes)


def _calibration_warnings(study: Study) -> Iterator[str]:
    if warnings := kept_float.warnings(study):
        yield from ("", f"## {kept_float.WARNINGS_TITLE}", "")
        yield from _items(warnings)


def _float_sites(study: Study) -> Iterator[str]:
    if rows := kept_float.float_sites(study):
        yield from ("", f"## {kept_float.TITLE}", "")
        yield from (f"- {text_of(row.short)}: {text_of(row.reason)}" for row in rows)


def _items(texts: Iterable[str]) -> Iterator[str]:
    return (f"- {text_of(text)}" for text in texts)


def _table(table: ResultTable) -> Iterator[str]:
    evidence = ("Evidence",) if table.is_mixed else ()
    yield table_row(("Figure", *map(text_of, table.columns), *evidence))
    yield table_row(("---", *("---:" for _ in table.columns), *("---" for _ in evidence)))
    for group in table.groups:
        if group.title:
            empty = ("" for _ in (*table.columns, *evidence))
            yield table_row((f"**{text_of(group.title)}**", *empty))
        for row in group.rows:
            yield _row(row, table.is_mixed)


def _row(row: FigureRow, with_evidence: bool) -> str:
    mixed = len(row.evidence) > 1
    cells = (_cell(cell, mixed) for cell in row.cells)
    evidence = "" if mixed else text_of("".join(row.evidence))
    return table_row((text_of(row.head), *cells, *((evidence,) if with_evidence else ())))


def _cell(cell: Cell, with_evidence: bool) -> str:
    text = text_of(f"{cell.text} ({cell.note})" if cell.note else cell.text)
    if cell.struck:
        text = f"~~{text}~~"
    return f"{text} {cell.evidence}" if with_evidence and cell.evidence else text


def _section(section: Section) -> Iterator[str]:
    yield f"### {text_of(section.title)}"
    yield ""
    yield "| | |"
    yield "| --- | --- |"
    for fact in section.facts:
        yield table_row(
            (text_of(fact.name), code_of(fact.value) if fact.code else text_of(fact.value))
        )
