"""Latency over the minutes of a run: how much a device slows down, one line a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgenext.errors import UsageError
from edgenext.report.plots.picture import save_picture
from edgenext.report.speed import round_medians
from edgenext.schema import BenchReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE = (8.0, 4.4)
"""Inches."""
COLOURS = ("#4d4d4d", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
"""Distinguishable with colour blindness; the first is the base's."""


def save_drift_plot(report: BenchReport, path: Path) -> Path:
    """Draw the median of every round against time, or against its number if times are missing.

    Args:
        report: with the samples of every round.
        path: of a .png or .svg file.

    Raises:
        UsageError: nothing was timed, or another kind of file.
        OutputError: the file cannot be written.
    """
    timed = [
        (result, medians)
        for result in report.results
        if result.samples_ms and (medians := round_medians(result)) is not None
    ]
    if not timed:
        raise UsageError("there are no timings to draw", "Leave out --plot")
    has_times = all(len(r.round_ends_s) == len(r.rounds) for r, _ in timed)

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for i, (result, medians) in enumerate(timed):
            minutes = [s / 60 for s in result.round_ends_s]
            x = minutes if has_times else list(range(1, len(medians) + 1))
            name = result.artifact if result.valid else f"{result.artifact} (not valid)"
            axes.plot(x, medians, color=COLOURS[i % len(COLOURS)], linewidth=1.4, label=name)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("minutes" if has_times else "round")
        axes.set_ylabel("latency, ms (median of each round)")
        axes.grid(axis="y", color="#dddddd", linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=9)

    return save_picture(path, SIZE, draw)
