"""Several runs in one page: what each decided, and every file on every device."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePath
from urllib.parse import quote

from edgenext.report.changes import Side
from edgenext.report.html_text import cell_table, document, lines, section
from edgenext.report.page import KICKER, figure, header
from edgenext.report.plots.runs import runs
from edgenext.report.side_by_side import decisions_table, judged_runs, side_by_side
from edgenext.report.text import count

PAGE = "comparison.html"
"""The file with the comparison."""


def comparison_page(sides: Sequence[Side], reports: Sequence[Path], folder: Path) -> str:
    """The HTML document.

    Args:
        sides: the runs.
        reports: the page of each run.
        folder: of this page: the addresses of the others are relative to it.
    """
    decisions, files = decisions_table(sides), side_by_side(sides)
    links = {
        side.name: address
        for side, report in zip(sides, reports, strict=True)
        if (address := _address(report, folder))
    }
    title = f"{count(len(sides), 'run')} side by side"
    body = (
        header(KICKER, title),
        section(decisions.title, cell_table(decisions, links)),
        figure(runs(judged_runs(sides), sides[0].verdict.budget)),
        section(files.title, cell_table(files)),
    )
    return document(title, lines(body))


def _address(report: Path, folder: Path) -> str:
    """Where a report is, from the folder; empty if it is on another drive."""
    try:
        return quote(PurePath(os.path.relpath(report.resolve(), folder.resolve())).as_posix())
    except ValueError:
        return ""
