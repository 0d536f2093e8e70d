"""The judged files of several runs: drop and speed, each with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgenext.report.ci.metrics import Measure
from edgenext.report.plots.canvas import GOOD, INK, MUTED, SERIES, Plot, drawable, render, show_grid
from edgenext.report.text import number, points, span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_RUNS = 20
"""Runs that are drawn: the table has all of them."""
ROW, FRAME = 0.42, 0.9
"""Inches of height of each run, and of what is around them."""


@dataclass(frozen=True)
class JudgedRun:
    """A run by name, with its drop in points and its speed, relative to its own base."""

    name: str
    drop: Measure
    speed: Measure


def runs(judged: Sequence[JudgedRun], budget: float) -> Plot | None:
    """A row for each run, in two panels; None where no run has an interval.

    Args:
        judged: the runs.
        budget: points of top-1.
    """
    shown = judged[:MOST_RUNS]
    if not any(_limits(m) for run in shown for m in (run.drop, run.speed)):
        return None

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        left.axvspan(-1e6, budget, color=GOOD, linewidth=0, zorder=0)
        right.axvspan(1, 1e6, color=GOOD, linewidth=0, zorder=0)
        _panel(left, [run.drop for run in shown], (0.0, budget), SERIES[2])
        _panel(right, [run.speed for run in shown], (1.0,), SERIES[1])
        left.set_xlabel("top-1 drop, points")
        right.set_xlabel("speed, own base = 1")
        left.set_yticks(range(len(shown)), [drawable(run.name) for run in shown])
        left.set_ylim(len(shown) - 0.4, -0.6)
        for label in left.get_yticklabels():
            label.set_color(INK)

    return Plot(
        name="runs",
        title="Drop and speed of each run’s INT8 file",
        svg=render("runs", draw, FRAME + ROW * len(shown)),
        alt=" ".join(map(_words, shown)),
        caption=(
            f"With 95 % intervals; shaded is within the budget of {points(budget)}, and faster "
            "than the base. A speed is relative to the base of its own run, on its own device."
            + (f" The first {MOST_RUNS} runs are drawn." if len(judged) > MOST_RUNS else "")
        ),
    )


def _panel(axes: Axes, measures: Sequence[Measure], marks: Sequence[float], colour: str) -> None:
    """One figure of every run; nothing where it has no interval."""
    ends = [*marks]
    for y, measure in enumerate(measures):
        if limits := _limits(measure):
            value, low, high = limits
            ends += [low, high]
            axes.errorbar(
                value,
                y,
                xerr=[[max(0, value - low)], [max(0, high - value)]],
                fmt="o",
                color=colour,
                markersize=7,
                elinewidth=2,
                capsize=3,
                zorder=3,
            )
    pad = 0.12 * (max(ends) - min(ends) or 1)
    axes.set_xlim(min(ends) - pad, max(ends) + pad)
    for mark in marks:
        axes.axvline(mark, color=MUTED, linewidth=0.8, linestyle="-" if mark == marks[0] else "--")
    show_grid(axes, "x")


def _limits(measure: Measure) -> tuple[float, float, float] | None:
    if measure.value is None or measure.low is None or measure.high is None:
        return None
    return measure.value, measure.low, measure.high


def _words(run: JudgedRun) -> str:
    parts = []
    for name, measure in (("drop", run.drop), ("speed", run.speed)):
        if limits := _limits(measure):
            value, low, high = limits
            parts.append(f"{name} {number(value, 2)} ({span(low, high, 2)})")
    return f"{run.name}: {', '.join(parts) or 'no interval'}."
