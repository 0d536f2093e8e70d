"""The report as one HTML file: a small script sorts its tables; nothing is loaded."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from edgenext.report import clipping, kept_float
from edgenext.report.attribution import attribution_table
from edgenext.report.changes import Side, changes_table
from edgenext.report.details import NO_DETAILS, Details
from edgenext.report.devices import device_tables
from edgenext.report.expected import expectation_text
from edgenext.report.files import files_table, main_study
from edgenext.report.findings import Findings
from edgenext.report.glossary import glossary
from edgenext.report.headline import next_parts
from edgenext.report.html_text import (
    cell_html,
    cell_table,
    code_block,
    document,
    findings_grid,
    folded,
    items,
    lines,
    section,
    sentence,
    text,
)
from edgenext.report.pictures import SIDE, Picture
from edgenext.report.plots.canvas import Plot
from edgenext.report.provenance import Fact, Section, provenance
from edgenext.report.side_by_side import side_by_side
from edgenext.report.study import Study
from edgenext.report.tables import FigureRow, ResultTable, result_table, short_table
from edgenext.report.tiles import Tile, tiles
from edgenext.report.twin import twin_table
from edgenext.report.use import PHOTO, UseBox
from edgenext.schema import ChangeReport, Verdict

OUTCOMES = {True: "paid", False: "unpaid", None: "unknown"}
"""Verdict → its CSS class."""
FIRST_PLOT = "tradeoff"
"""The plot that stands above the results."""
ANSWERS_PLOT = "flips"
"""The plot that stands with the changed answers."""
UNFOLDED = 12
"""Pictures that are shown before one opens the others."""
KICKER = "INT8 on the edge: what it gained, what it cost"


def page(
    study: Study,
    verdict: Verdict,
    plots: Sequence[Plot],
    changed: ChangeReport | None = None,
    details: Details = NO_DETAILS,
) -> str:
    """The HTML document; `plots` are trusted, all other text is escaped."""
    judged = next((e for e in study.entries if e.name == verdict.artifact), None)
    main = main_study(study, verdict)
    table = result_table(main)
    label = judged.label if judged else ""
    placed = {plot.name: plot for plot in plots if plot.name in (FIRST_PLOT, ANSWERS_PLOT)}
    parts = (
        header(KICKER, study.summary.model),
        _verdict(study, verdict),
        _tiles(tiles(study, judged)),
        figure(placed.get(FIRST_PLOT)),
        section("Results", _results(table, label)),
        _files(study, details) if main is not study else "",
        _use(details.use),
        _findings(changes_table(changed)),
        section("Which answers changed", _answers(details, placed.get(ANSWERS_PLOT)), "changed"),
        _findings(attribution_table(study), is_folded=True),
        _findings(twin_table(study), is_folded=True),
        _devices(study, verdict),
        _plots([plot for plot in plots if plot.name not in placed]),
        _findings(clipping.clipping_table(study), is_folded=True),
        section(kept_float.WARNINGS_TITLE, items(kept_float.warnings(study))),
        _float_sites(kept_float.float_sites(study)),
        _glossary(glossary(study, verdict, table.evidence)),
        _provenance(provenance(study)),
    )
    title = f"{study.summary.model}: {verdict.decision}"
    return document(title, lines(part for part in parts if part))


def header(kicker: str, title: str) -> str:
    """The heading of a page."""
    return f'<header>\n<p class="kicker">{text(kicker)}</p>\n<h1>{text(title)}</h1>\n</header>'


def _verdict(study: Study, verdict: Verdict) -> str:
    """What to do: the decision, why, and the next command."""
    decision, *reasons, last = verdict.lines
    start, command = next_parts(last)
    expected = expectation_text(study, verdict)
    why = items(verdict.reasons, "reasons")
    why += f'\n<p class="expected">{sentence(expected)}</p>' if expected else ""
    body = (
        f"<p><strong>{text(decision)}</strong></p>",
        *(f"<p>{text(reason)}</p>" for reason in reasons),
        f'<p class="next">{text(start)} <code>{text(command)}</code></p>',
        folded("Why", why),
    )
    style = f"verdict {OUTCOMES[verdict.pays]}"
    return f'<section class="{style}" aria-label="What to do">\n{lines(body)}\n</section>'


def _tiles(figures: Sequence[Tile]) -> str:
    if not figures:
        return ""
    rows = (
        f"<li><b>{text(t.value)}</b><span>{text(t.name)}</span><small>{text(t.note)}</small></li>"
        for t in figures
    )
    return f'<ul class="tiles">\n{lines(rows)}\n</ul>'


def _results(table: ResultTable, label: str) -> str:
    short = _table(short_table(table), label)
    return lines((short, items(table.notes), folded("All figures", _table(table, label))))


def _files(study: Study, details: Details) -> str:
    table = files_table(study)
    links = {link.name: link.address for link in details.links.values()}
    return section(table.title, cell_table(table, links))


def _use(box: UseBox | None) -> str:
    """The file to use, its input, and code that runs it."""
    if box is None:
        return ""
    links = " · ".join(
        f'<a href="{html.escape(link.address)}">{text(link.name)}</a>' for link in box.links
    )
    about = f"<p>{text(box.about)}</p>\n" if box.about else ""
    body = (
        f"{about}{_facts(box.facts)}\n"
        f"<p>In the folder of this report, with an image {PHOTO} in it:</p>\n"
        f'{code_block(box.code)}\n<p class="about">Files of this run: {links}</p>'
    )
    return section(box.title, body, "use")


def _answers(details: Details, plot: Plot | None) -> str:
    """The images whose answer changed, their classes, and how sure the base was of them."""
    if details.images is None:
        return figure(plot)
    changed, classes = details.images, details.classes
    parts = [f"<p>{sentence(changed.about)}</p>"]
    if changed.note:
        parts.append(f'<p class="about">{sentence(changed.note)}</p>')
    if changed.pictures:
        parts.append(_gallery(changed.pictures[:UNFOLDED]))
    if rest := changed.pictures[UNFOLDED:]:
        parts.append(folded(f"{len(rest)} more", _gallery(rest)))
    if classes:
        parts.append(folded(classes.title, _findings_body(classes)))
    if details.tables and changed.pictures:
        files = " · ".join(f'<a href="{name}">{name}</a>' for name in details.tables)
        parts.append(f'<p class="about">All of them: {files}</p>')
    return lines((*parts, figure(plot)))


def _gallery(pictures: Sequence[Picture]) -> str:
    return f'<ul class="gallery">\n{lines(map(_picture, pictures))}\n</ul>'


def _picture(picture: Picture) -> str:
    """An image with its label and both answers."""
    shown = (
        f'<img src="{picture.source}" alt="" width="{SIDE}" height="{SIDE}">'
        if picture.source
        else ""
    )
    rows = (
        f"<dt>is</dt><dd>{text(picture.label)}</dd>",
        f"<dt>base</dt><dd>{text(picture.before)}</dd>",
        f"<dt>INT8</dt><dd>{text(picture.after)}</dd>",
    )
    return (
        f'<li title="{text(picture.name)}">{shown}<span class="{picture.outcome.split()[0]}">'
        f"{picture.outcome}</span><dl>{''.join(rows)}</dl></li>"
    )


def _table(table: ResultTable, judged: str) -> str:
    marks = [' class="judged"' if label == judged else "" for label in table.columns]
    heads = "".join(
        f'<th scope="col"{mark}>{text(label)}</th>'
        for label, mark in zip(table.columns, marks, strict=True)
    )
    evidence = '<th scope="col">Evidence</th>' if table.is_mixed else ""
    parts = [
        f'<div class="scroll" tabindex="0"><table{" class=mixed" if evidence else ""}>',
        f'<thead><tr><th scope="col">Figure</th>{heads}{evidence}</tr></thead>',
    ]
    width = len(table.columns) + 1 + table.is_mixed
    for group in table.groups:
        parts.append("<tbody>")
        if group.title:
            title = text(group.title)
            parts.append(f'<tr><th scope="rowgroup" colspan="{width}">{title}</th></tr>')
        parts += (_row(row, marks, table.is_mixed) for row in group.rows)
        parts.append("</tbody>")
    parts.append("</table></div>")
    return lines(parts)


def _row(row: FigureRow, marks: Sequence[str], with_evidence: bool) -> str:
    mixed = len(row.evidence) > 1
    cells = "".join(
        f"<td{mark}>{cell_html(cell, with_evidence=mixed)}</td>"
        for cell, mark in zip(row.cells, marks, strict=True)
    )
    tag = "" if mixed else text("".join(row.evidence))
    evidence = f'<td><span class="tag">{tag}</span></td>' if with_evidence else ""
    return f'<tr><th scope="row">{text(row.head)}</th>{cells}{evidence}</tr>'


def _findings(table: Findings | None, *, is_folded: bool = False) -> str:
    if table is None:
        return ""
    return section(table.title, _findings_body(table, is_folded=is_folded), "findings")


def _findings_body(table: Findings, *, is_folded: bool = False) -> str:
    """What was compared and what it shows; the rows, perhaps folded; how they were measured."""
    grid = f'{findings_grid(table)}\n<p class="about">{sentence(table.note)}</p>'
    return (
        f"<p>{sentence(table.about)}</p>\n{items(table.findings, 'sentences')}\n"
        f"{folded('Figures', grid) if is_folded else grid}"
    )


def _devices(study: Study, verdict: Verdict) -> str:
    """A table for each device, and one with all of them."""
    tables = device_tables(study)
    if not tables:
        return ""
    together = side_by_side([Side(study.summary.model, study, verdict, None)])
    all_devices = section(together.title, cell_table(together))
    return lines((*(section(t.title, cell_table(t)) for t in tables), all_devices))


def _float_sites(rows: Sequence[kept_float.FloatSites]) -> str:
    if not rows:
        return ""
    entries = lines(f"<dt>{_sites(row)}</dt><dd>{text(row.reason)}</dd>" for row in rows)
    return section(kept_float.TITLE, f"<dl>\n{entries}\n</dl>", "float-sites")


def _sites(row: kept_float.FloatSites) -> str:
    """A few names, which open to all of them."""
    if len(row.sites) <= kept_float.SHOWN:
        return text(row.short)
    names = text(", ".join(row.sites))
    return f"<details><summary>{text(row.short)}</summary>{names}</details>"


def _plots(plots: Sequence[Plot]) -> str:
    figures = lines(map(figure, plots))
    return section("Plots", f'<div class="plots">\n{figures}\n</div>') if plots else ""


def figure(plot: Plot | None) -> str:
    """A plot with its heading and caption; nothing without one."""
    if plot is None:
        return ""
    return (
        f'<figure>\n<h3>{text(plot.title)}</h3>\n<div role="img" '
        f'aria-label="{text(plot.alt)}">\n{plot.svg}\n</div>\n'
        f"<figcaption>{text(plot.caption)}</figcaption>\n</figure>"
    )


def _glossary(terms: Iterable[tuple[str, str]]) -> str:
    rows = lines(f"<dt>{text(k)}</dt><dd>{text(v)}</dd>" for k, v in terms)
    return section("How to read this", f"<dl>\n{rows}\n</dl>", "glossary")


def _provenance(sections: Sequence[Section]) -> str:
    parts = lines(f"<h3>{text(part.title)}</h3>\n{_facts(part.facts)}" for part in sections)
    title = "Network, images, files with their hashes, machine, command"
    return section("Where the figures come from", folded(title, parts), "provenance")


def _facts(facts: Sequence[Fact]) -> str:
    rows = (
        f"<dt>{text(f.name)}</dt><dd>"
        + (f"<code>{text(f.value)}</code>" if f.code else text(f.value))
        + "</dd>"
        for f in facts
    )
    return f"<dl>\n{lines(rows)}\n</dl>"
