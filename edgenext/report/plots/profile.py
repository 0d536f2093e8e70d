"""Where the time goes: a bar a site, its operators stacked, in a file of its own."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from edgenext.report.plots.picture import save_picture
from edgenext.schema import ProfileReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_SITES, MOST_OPERATORS = 25, 9
"""Bars, and operators with a colour of their own; the rest are added up."""
OTHER = "other operators"


def save_profile_plot(report: ProfileReport, path: Path) -> Path:
    """Draw the milliseconds of the slowest sites by operator.

    Args:
        report: of one artifact.
        path: of a .png or .svg file.

    Raises:
        UsageError: another kind of file.
        OutputError: the folder cannot be written.
    """
    by_site: dict[str, Counter[str]] = defaultdict(Counter)
    for row in report.rows:
        by_site[row.site or "added by the runtime"][row.operator] += row.ms  # type: ignore[assignment]
    named = list(report.by_operator)[:MOST_OPERATORS]
    sites = sorted(by_site, key=lambda site: by_site[site].total())[-MOST_SITES:]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        left = [0.0] * len(sites)
        for operator in (*named, OTHER):
            widths = [
                by_site[site][operator]
                if operator != OTHER
                else sum(ms for name, ms in by_site[site].items() if name not in named)
                for site in sites
            ]
            axes.barh(sites, widths, left=left, label=operator, height=0.75)
            left = [a + b for a, b in zip(left, widths, strict=True)]
        axes.set_xlabel("ms an inference")
        axes.tick_params(axis="y", labelsize=7.5)
        axes.set_title(
            f"{report.artifact}, {report.runtime}, {report.threads} thread(s), {report.cpu}",
            fontsize=10,
            loc="left",
        )
        figure.legend(fontsize=7.5, ncols=4, frameon=False, loc="outside lower center")

    return save_picture(path, (7.5, 1.6 + 0.2 * len(sites)), draw)
