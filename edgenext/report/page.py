"""The report as one HTML file: no script, nothing loaded, every text escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from importlib import resources
from string import Template

from edgenext.report import kept_float
from edgenext.report.attribution import attribution_table
from edgenext.report.changes import changes_table
from edgenext.report.devices import DeviceTable, device_tables
from edgenext.report.expected import expectation_text
from edgenext.report.findings import Findings
from edgenext.report.glossary import glossary
from edgenext.report.headline import next_parts
from edgenext.report.plots.canvas import Plot
from edgenext.report.provenance import Section, provenance
from edgenext.report.study import Study
from edgenext.report.tables import Cell, FigureRow, ResultTable, result_table, short_table
from edgenext.report.text import clean, prose
from edgenext.report.tiles import Tile, tiles
from edgenext.report.twin import twin_table
from edgenext.schema import ChangeReport, Verdict

OUTCOMES = {True: "paid", False: "unpaid", None: "unknown"}
"""Verdict → its CSS class."""


FIRST_PLOT = "tradeoff"
"""The plot that stands above the results."""


def page(
    study: Study, verdict: Verdict, plots: Sequence[Plot], changed: ChangeReport | None = None
) -> str:
    """The HTML document; `plots` are trusted, all other text is escaped."""
    judged = next((e for e in study.entries if e.name == verdict.artifact), None)
    table = result_table(study)
    label = judged.label if judged else ""
    terms = glossary(study, verdict, table.evidence)
    first = [plot for plot in plots if plot.name == FIRST_PLOT]
    return Template(_resource("page.html")).substitute(
        title=_text(f"{study.summary.model}: {verdict.decision}"),
        css=_resource("page.css").strip(),
        model=_text(study.summary.model),
        outcome=OUTCOMES[verdict.pays],
        lines=_first_lines(verdict),
        reasons=_lines(f"<li>{_text(reason)}</li>" for reason in verdict.reasons),
        expected=_expected(expectation_text(study, verdict)),
        tiles=_tiles(tiles(study, judged)),
        tradeoff=_lines(map(_figure, first)),
        results=_table(short_table(table), label),
        notes=_notes(table),
        figures=_table(table, label),
        changes=_findings(changes_table(changed)),
        attribution=_findings(attribution_table(study)),
        twin=_findings(twin_table(study)),
        devices=_lines(map(_device, device_tables(study))),
        warnings=_warnings(kept_float.warnings(study)),
        float_sites=_float_sites(kept_float.float_sites(study)),
        plots=_plots([plot for plot in plots if plot not in first]),
        terms=_lines(f"<dt>{_text(k)}</dt><dd>{_text(v)}</dd>" for k, v in terms),
        provenance=_lines(map(_section, provenance(study))),
    )


def _first_lines(verdict: Verdict) -> str:
    """What to do: the decision, why, and the next command."""
    decision, *reasons, last = verdict.lines
    start, command = next_parts(last)
    return _lines(
        (
            f"<p><strong>{_text(decision)}</strong></p>",
            *(f"<p>{_text(reason)}</p>" for reason in reasons),
            f'<p class="next">{_text(start)} <code>{_text(command)}</code></p>',
        )
    )


def _text(text: str) -> str:
    return html.escape(clean(text))


def _prose(text: str) -> str:
    return prose(text, _text, lambda code: f"<code>{_text(code)}</code>")


def _lines(parts: Iterable[str]) -> str:
    return "\n".join(parts)


def _resource(name: str) -> str:
    return resources.files("edgenext.report").joinpath(name).read_text(encoding="utf-8")


def _tiles(figures: Sequence[Tile]) -> str:
    if not figures:
        return ""
    items = (
        f"<li><b>{_text(t.value)}</b><span>{_text(t.name)}</span><small>{_text(t.note)}</small></li>"
        for t in figures
    )
    return f'<ul class="tiles">\n{_lines(items)}\n</ul>'


def _table(table: ResultTable, judged: str) -> str:
    marks = [' class="judged"' if label == judged else "" for label in table.columns]
    heads = "".join(
        f'<th scope="col"{mark}>{_text(label)}</th>'
        for label, mark in zip(table.columns, marks, strict=True)
    )
    evidence = '<th scope="col">Evidence</th>' if table.is_mixed else ""
    parts = [
        f'<div class="scroll"><table{" class=mixed" if evidence else ""}>',
        f'<thead><tr><th scope="col">Figure</th>{heads}{evidence}</tr></thead>',
    ]
    width = len(table.columns) + 1 + table.is_mixed
    for group in table.groups:
        parts.append("<tbody>")
        if group.title:
            title = _text(group.title)
            parts.append(f'<tr><th scope="rowgroup" colspan="{width}">{title}</th></tr>')
        parts += (_row(row, marks, table.is_mixed) for row in group.rows)
        parts.append("</tbody>")
    parts.append("</table></div>")
    return _lines(parts)


def _notes(table: ResultTable) -> str:
    if not table.notes:
        return ""
    items = _lines(f"<li>{_text(note)}</li>" for note in table.notes)
    return f'<ul class="notes">\n{items}\n</ul>'


def _expected(text: str) -> str:
    return f'<p class="expected">{_prose(text)}</p>' if text else ""


def _findings(table: Findings | None) -> str:
    if table is None:
        return ""
    findings = _lines(f"<li>{_prose(sentence)}</li>" for sentence in table.findings)
    return (
        f'<section class="findings">\n<h2>{_text(table.title)}</h2>\n'
        f"<p>{_prose(table.about)}</p>\n<ul>\n{findings}\n</ul>\n"
        f"{_grid(table.columns, [map(_text, row) for row in table.rows])}\n"
        f'<p class="about">{_prose(table.note)}</p>\n</section>'
    )


def _device(table: DeviceTable) -> str:
    rows = [(_cell(cell, False) for cell in row) for row in table.rows]
    notes = _lines(f"<li>{_text(note)}</li>" for note in table.notes)
    return (
        f"<section>\n<h2>{_text(table.title)}</h2>\n{_grid(table.columns, rows)}\n"
        f'<ul class="notes">\n{notes}\n</ul>\n</section>'
    )


def _grid(heads: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of rows with cells in HTML; the first cell of each row is its head."""
    columns = "".join(f'<th scope="col">{_text(name)}</th>' for name in heads)
    lines = []
    for head, *cells in rows:
        data = "".join(f"<td>{cell}</td>" for cell in cells)
        lines.append(f'<tr><th scope="row">{head}</th>{data}</tr>')
    return (
        f'<div class="scroll"><table>\n<thead><tr>{columns}</tr></thead>\n'
        f"<tbody>\n{_lines(lines)}\n</tbody>\n</table></div>"
    )


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    title = kept_float.WARNINGS_TITLE
    items = _lines(f"<li>{_text(warning)}</li>" for warning in warnings)
    return f'<section>\n<h2>{title}</h2>\n<ul class="notes">\n{items}\n</ul>\n</section>'


def _float_sites(rows: Sequence[kept_float.FloatSites]) -> str:
    if not rows:
        return ""
    title = kept_float.TITLE
    items = _lines(f"<dt>{_sites(row)}</dt><dd>{_text(row.reason)}</dd>" for row in rows)
    return f'<section class="float-sites">\n<h2>{title}</h2>\n<dl>\n{items}\n</dl>\n</section>'


def _sites(row: kept_float.FloatSites) -> str:
    """A few names, which open to all of them."""
    if len(row.sites) <= kept_float.SHOWN:
        return _text(row.short)
    names = _text(", ".join(row.sites))
    return f"<details><summary>{_text(row.short)}</summary>{names}</details>"


def _row(row: FigureRow, marks: Sequence[str], with_evidence: bool) -> str:
    mixed = len(row.evidence) > 1
    cells = "".join(
        f"<td{mark}>{_cell(cell, mixed)}</td>" for cell, mark in zip(row.cells, marks, strict=True)
    )
    tag = "" if mixed else _text("".join(row.evidence))
    evidence = f'<td><span class="tag">{tag}</span></td>' if with_evidence else ""
    return f'<tr><th scope="row">{_text(row.head)}</th>{cells}{evidence}</tr>'


def _cell(cell: Cell, with_evidence: bool) -> str:
    value, note = _text(cell.text), _text(cell.note)
    if cell.struck:
        value, note = f"<s>{value}</s>", note and f"<s>{note}</s>"
    small = f"<small>{note}</small>" if note else ""
    tag = with_evidence and cell.evidence
    return value + small + (f"<small>{_text(cell.evidence)}</small>" if tag else "")


def _plots(plots: Sequence[Plot]) -> str:
    if not plots:
        return ""
    figures = _lines(map(_figure, plots))
    return f'<section>\n<h2>Plots</h2>\n<div class="plots">\n{figures}\n</div>\n</section>'


def _figure(plot: Plot) -> str:
    return (
        f'<figure>\n<h3>{_text(plot.title)}</h3>\n<div role="img" '
        f'aria-label="{_text(plot.alt)}">\n{plot.svg}\n</div>\n'
        f"<figcaption>{_text(plot.caption)}</figcaption>\n</figure>"
    )


def _section(section: Section) -> str:
    facts = (
        f"<dt>{_text(f.name)}</dt><dd>"
        + (f"<code>{_text(f.value)}</code>" if f.code else _text(f.value))
        + "</dd>"
        for f in section.facts
    )
    return f"<h3>{_text(section.title)}</h3>\n<dl>\n{_lines(facts)}\n</dl>"
