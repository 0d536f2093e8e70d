"""Latency of every file in every round: whether the machine was quiet during the benchmark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgenext.report.plots.canvas import Plot, looks, render, show_grid, spread, title_of
from edgenext.report.speed import by_round
from edgenext.report.study import UNTIMED, Entry, Study
from edgenext.report.text import milliseconds

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rounds = list[NDArray[np.float64]]


def rounds(study: Study) -> Plot | None:
    """Each round's median latency with the range from its 10th to its 90th percentile."""
    series: list[tuple[Entry, Rounds]] = []
    for entry in study.entries:
        split = by_round(entry.bench) if entry.bench else None
        if split and len(split) > 1 and entry.bench and entry.bench.evidence not in UNTIMED:
            series.append((entry, split))
    if not series:
        return None

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        style = looks(study)
        longest = max(len(split) for _, split in series)
        ends, top = [], 0.0
        for entry, split in series:
            look = style[entry.name]
            low, middle, high = np.array([np.percentile(r, (10, 50, 90)) for r in split]).T
            at = np.arange(1, len(split) + 1)
            axes.fill_between(at, low, high, color=look.colour, alpha=0.22, linewidth=0)
            axes.plot(at, middle, look.dash, color=look.colour, linewidth=1.8)
            top = max(top, float(middle.max()), float(np.quantile(high, 0.9)))
            ends.append(float(middle[-3:].mean()))
        axes.set_xlim(1, longest)
        axes.set_ylim(0, 1.06 * top)
        for (entry, _), y in zip(series, spread(ends, 0.135 * top), strict=True):
            bench = entry.bench
            middle = milliseconds(bench.p50_ms) if bench else ""
            note = f"{middle} ms" if entry.timed else "not valid"
            axes.annotate(
                f"{title_of(entry)}\n{note}",
                (longest, y),
                (7, 0),
                textcoords="offset points",
                va="center",
                color=style[entry.name].colour,
                fontsize=10.5,
                fontweight="bold",
                annotation_clip=False,
            )
        axes.set_xlabel("round")
        axes.set_ylabel("latency, ms")
        show_grid(axes, "y")

    return Plot(
        name="rounds",
        title="Was the machine quiet?",
        svg=render("rounds", draw),
        alt="Latency of each round. " + " ".join(_words(e, split) for e, split in series),
        caption=(
            "The files took turns. Lines are each round’s median, bands reach from its 10th to "
            "its 90th percentile; a quiet machine gives level lines and thin bands."
        ),
    )


def _words(entry: Entry, split: Rounds) -> str:
    medians = [float(np.median(r)) for r in split]
    return (
        f"{entry.label}: round medians from {milliseconds(min(medians))} to "
        f"{milliseconds(max(medians))} ms over {len(medians)} rounds."
    )
