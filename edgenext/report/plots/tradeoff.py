"""Gain against cost: speed on the x axis, accuracy drop on the y axis, both with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgenext.report.conditions import floats_to_beat
from edgenext.report.plots.canvas import (
    GOOD,
    MUTED,
    Look,
    Plot,
    drawable,
    looks,
    render,
)
from edgenext.report.speed import Speed, fastest, speed
from edgenext.report.study import Entry, Study
from edgenext.report.text import number, points, span, times
from edgenext.schema import Drop

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Place = tuple[Entry, Speed, Drop | None]

LONGEST = 36
"""Characters of a name: the legend has two columns."""
OTHER = Look(MUTED, "o", "-")
"""Of files that are not named."""


def tradeoff(study: Study, budget: float, main: Study | None = None) -> Plot | None:
    """Accuracy drop against speed, the base at (1, 0).

    Args:
        study: the run.
        budget: points of top-1.
        main: the study with the files that are named; all of them unless given.
    """
    places = _places(study)
    base = study.base
    if base is None or len(places) < 2:
        return None
    fastest_float = fastest(floats_to_beat(study, budget))
    measured = speed(fastest_float, base, study) if fastest_float else None
    least = measured.times if measured and measured.valid else 1.0

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        _frame(axes, places, least, budget)
        style = looks(main or study)
        for place in places:
            _cross(axes, place, style.get(place[0].name, OTHER), is_named=place[0].name in style)
        legend = figure.legend(
            loc="outside lower center",
            ncols=2,
            frameon=False,
            fontsize=10,
            columnspacing=1.6,
            handletextpad=0.5,
        )
        colours = [style[entry.name].colour for entry, _, _ in places if entry.name in style]
        for label, colour in zip(legend.get_texts(), colours, strict=True):
            label.set_color(colour)
        axes.set_xlabel(f"speed, {drawable(base.label)} = 1  (right is faster)")
        axes.set_ylabel("top-1 drop, points  (down is better)")
        axes.tick_params(length=0)

    return Plot(
        name="tradeoff",
        title="What was gained, what it cost",
        svg=render("tradeoff", draw),
        alt="Top-1 drop against speed. "
        + " ".join(_words(p, base) for p in places if p[0] in (main or study).entries),
        caption=(
            "Each file with the 95 % intervals of its speed and its drop. INT8 pays when its whole "
            "cross lies in the shaded corner: to the right of every floating-point file whose own "
            "drop is within the budget, and below the budget itself."
        ),
    )


def _frame(axes: Axes, places: list[Place], least: float, budget: float) -> None:
    """Axis limits that contain every cross, the budget, and the corner in which INT8 pays."""
    drops = [drop for _, _, drop in places if drop]
    low = min([-0.15 * budget, *(drop.ci95[0] for drop in drops)])
    high = max([budget, *(drop.ci95[1] for drop in drops)])
    pad = 0.16 * (high - low) or 1.0
    slowest = min(fast.low for _, fast, _ in places)
    right = max(fast.high for _, fast, _ in places)
    margin = 0.14 * max(right - slowest, 0.1)
    # The corner keeps room for its name even if no cross reaches it.
    right = max(right + margin, least + 2.6 * margin)
    axes.set_xlim(slowest - margin, right)
    axes.set_ylim(low - pad, high + pad)
    share = (budget - low + pad) / (high - low + 2 * pad)
    axes.axvspan(least, right, 0, share, color=GOOD, linewidth=0, zorder=0)
    axes.axhline(0, color=MUTED, linewidth=0.8, zorder=1)
    axes.axhline(budget, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    for text, at, shift, side in (
        ("INT8 pays here", (right, low - pad), (-4, 4), "right"),
        (f"budget {points(budget)}", (slowest - margin, budget), (4, 3), "left"),
    ):
        axes.annotate(
            text, at, shift, textcoords="offset points", ha=side, color=MUTED, fontsize=10
        )


def _cross(axes: Axes, place: Place, look: Look, *, is_named: bool) -> None:
    """One file's marker with its two intervals; hollow where its timing is not valid."""
    entry, fast, drop = place
    y = drop.points if drop else 0.0
    below, above = drop.ci95 if drop else (y, y)
    name = drawable(entry.label, LONGEST) + ("" if fast.valid else ", not valid")
    axes.errorbar(
        fast.times,
        y,
        xerr=[[max(0, fast.times - fast.low)], [max(0, fast.high - fast.times)]],
        yerr=[[max(0, y - below)], [max(0, above - y)]],
        fmt=look.marker,
        markersize=8 if is_named else 4,
        color=look.colour,
        markerfacecolor=look.colour if fast.valid else "none",
        elinewidth=2 if is_named else 0.6,
        capsize=3 if drop and is_named else 0,
        zorder=3 if is_named else 2,
        label=name if is_named else "",
    )


def _places(study: Study) -> list[Place]:
    places: list[Place] = []
    for entry in study.entries:
        if entry is study.base:
            if entry.bench:
                places.append((entry, Speed(1, 1, 1, entry.timed), None))
            continue
        measured = speed(entry, study.base, study) if study.base else None
        if measured and entry.comparison:
            places.append((entry, measured, entry.comparison.drop))
    return places


def _words(place: Place, base: Entry) -> str:
    entry, fast, drop = place
    if entry is base or drop is None:
        return f"{entry.label} is the base."
    value, interval = times(fast.times, fast.low, fast.high)
    doubt = "" if fast.valid else " (timing not valid)"
    return (
        f"{entry.label}: {value} as fast ({interval}){doubt}, drop {number(drop.points, 2)} points "
        f"({span(*drop.ci95, 2)})."
    )
