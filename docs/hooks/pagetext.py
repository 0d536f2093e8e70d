"""Markdown from values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def cell(text: str) -> str:
    """A text as a cell of a table: on one line; a `|` outside code would end the cell."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(p if p.startswith("`") else p.replace("|", "\\|") for p in parts)


def code(text: object) -> str:
    """A value in code font."""
    return f"`{text}`"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; empty if it has no rows."""
    lines = [f"| {' | '.join(map(cell, row))} |" for row in rows]
    if not lines:
        return ""
    head = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return "\n".join([*head, *lines])


def joined(*parts: str) -> str:
    """Paragraphs, headings and tables as a page; empty ones are left out."""
    return "\n\n".join(part for part in parts if part) + "\n"
