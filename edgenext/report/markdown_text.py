"""Text, code and tables in GitHub-flavoured Markdown; every text is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable

from edgenext.report.text import clean, prose


def text_of(text: str) -> str:
    """Text that Markdown shows unchanged, in a table too."""
    escaped = re.sub(r"([\\`*\[\]|~])", r"\\\1", clean(text))
    # An underscore inside a word is no markup.
    escaped = re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", escaped)
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def code_of(text: str) -> str:
    """Text in a code span, with a fence longer than any run of backticks in it."""
    code = clean(text).replace("|", "\\|")
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", code)), default=0))
    pad = " " if "`" in code else ""
    return f"{fence}{pad}{code}{pad}{fence}"


def prose_of(text: str) -> str:
    """A sentence in which backticks mark code."""
    return prose(text, text_of, code_of)


def table_row(cells: Iterable[str]) -> str:
    """A row of a table; the cells are Markdown."""
    return f"| {' | '.join(cells)} |"
