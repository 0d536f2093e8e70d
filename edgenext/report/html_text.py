"""Text, tables and pages in HTML; every text is escaped."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from string import Template

from edgenext.report.findings import Findings
from edgenext.report.tables import Cell, CellTable
from edgenext.report.text import NOTHING, clean, prose

_FIGURE = re.compile(r"[<≥−+]?\s?\d")
"""How a figure begins; what else is in a cell is text, which is aligned to the left."""
LONG = 24
"""Rows above which a table scrolls under its head."""
_NO_FIGURE = ("", NOTHING, "base", "not valid")


def document(title: str, body: str) -> str:
    """A page in one file: a style and a script inside, nothing loaded."""
    script = resource("page.js").strip()
    digest = base64.b64encode(hashlib.sha256(f"\n{script}\n".encode()).digest()).decode()
    return Template(resource("page.html")).substitute(
        title=text(title),
        css=resource("page.css").strip(),
        script=script,
        script_hash=digest,
        body=body.strip(),
    )


def resource(name: str) -> str:
    """A file of this package."""
    return resources.files("edgenext.report").joinpath(name).read_text(encoding="utf-8")


def text(value: str) -> str:
    """Text on one line."""
    return html.escape(clean(value))


def sentence(value: str) -> str:
    """A sentence in which backticks mark code."""
    return prose(value, text, lambda code: f"<code>{text(code)}</code>")


def code_block(code: str) -> str:
    """Lines of code as they are; they hold no control characters."""
    return f"<pre><code>{html.escape(code)}</code></pre>"


def lines(parts: Iterable[str]) -> str:
    """Parts on lines of their own."""
    return "\n".join(parts)


def section(title: str, body: str, style: str = "") -> str:
    """A section with its heading; nothing if there is nothing in it."""
    if not body.strip():
        return ""
    name = f' class="{style}"' if style else ""
    return f"<section{name}>\n<h2>{text(title)}</h2>\n{body}\n</section>"


def folded(title: str, body: str) -> str:
    """What is shown when its title is opened."""
    return f"<details><summary>{text(title)}</summary>\n{body}\n</details>"


def items(texts: Iterable[str], style: str = "notes") -> str:
    """A list; nothing if it is empty."""
    rows = lines(f"<li>{sentence(item)}</li>" for item in texts)
    return f'<ul class="{style}">\n{rows}\n</ul>' if rows else ""


def cell_html(cell: Cell, *, with_evidence: bool = False) -> str:
    """A figure, its interval underneath, and its evidence where that is not said elsewhere."""
    value, note = text(cell.text), text(cell.note)
    if cell.struck:
        value, note = f"<s>{value}</s>", note and f"<s>{note}</s>"
    small = f"<small>{note}</small>" if note else ""
    tag = f"<small>{text(cell.evidence)}</small>" if with_evidence and cell.evidence else ""
    return value + small + tag


def grid(heads: Sequence[str], rows: Sequence[Sequence[str]], texts: Sequence[bool]) -> str:
    """A table of rows with cells in HTML; the first cell of each row is its head.

    Args:
        heads: of the columns.
        rows: cells in HTML.
        texts: which columns hold text instead of figures.
    """
    styles = [' class="text"' if is_text else "" for is_text in texts]
    columns = "".join(
        f'<th scope="col"{style}>{text(name)}</th>'
        for name, style in zip(heads, styles, strict=True)
    )
    body = []
    for head, *cells in rows:
        data = "".join(
            f"<td{style}>{cell}</td>" for cell, style in zip(cells, styles[1:], strict=True)
        )
        body.append(f'<tr><th scope="row">{head}</th>{data}</tr>')
    style = "scroll long" if len(body) > LONG else "scroll"
    return (
        f'<div class="{style}" tabindex="0"><table class="rows">\n<thead><tr>{columns}</tr></thead>'
        f"\n<tbody>\n{lines(body)}\n</tbody>\n</table></div>"
    )


def text_columns(rows: Sequence[Sequence[str]], width: int) -> list[bool]:
    """Which columns hold text: those in which a cell is neither a figure nor empty."""
    return [
        i == 0 or any(row[i] not in _NO_FIGURE and not _FIGURE.match(row[i]) for row in rows)
        for i in range(width)
    ]


def cell_table(table: CellTable, links: Mapping[str, str] = {}) -> str:
    """The rows of a table and its notes, without its title.

    Args:
        table: its first cells are names.
        links: name in the first column → the address that it leads to.
    """
    plain = [[cell.text for cell in row] for row in table.rows]
    rows = [[cell_html(cell) for cell in row] for row in table.rows]
    for row, (name, *_) in zip(rows, plain, strict=True):
        if name in links:
            row[0] = f'<a href="{html.escape(links[name])}">{row[0]}</a>'
    texts = text_columns(plain, len(table.columns))
    return f"{grid(table.columns, rows, texts)}\n{items(table.notes)}"


def findings_grid(table: Findings) -> str:
    """The rows behind findings."""
    texts = text_columns(table.rows, len(table.columns))
    return grid(table.columns, [[*map(text, row)] for row in table.rows], texts)
