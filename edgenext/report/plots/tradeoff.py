"""What was gained against what it cost: speed across, accuracy drop up, both with intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgenext.report.plots.canvas import (
    GOOD,
    GRID,
    MUTED,
    Plot,
    drawable,
    looks,
    render,
    title_of,
)
from edgenext.report.speed import Speed, fastest, speed
from edgenext.report.study import Entry, Study
from edgenext.report.text import number, points, span, times
from edgenext.schema import Drop

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Place = tuple[Entry, Speed, Drop | None]


def tradeoff(study: Study, budget: float) -> Plot | None:
    """Accuracy drop against speed, the base at (1, 0)."""
    places = _places(study)
    base = study.base
    if base is None or len(places) < 2:
        return None
    best = fastest(study.floats)
    found = speed(best, base, study) if best else None
    least = found.times if found and found.valid else 1.0

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        style = looks(study)
        drops = [d for _, _, d in places if d]
        bottom = min([-0.15 * budget, *(d.ci95[0] for d in drops)])
        top = max([budget, *(d.ci95[1] for d in drops)])
        pad = 0.16 * (top - bottom)
        left, right = min(s.low for _, s, _ in places), max(s.high for _, s, _ in places)
        wide = 0.14 * max(right - left, 0.1)
        axes.set_xlim(left - wide, right + wide)
        axes.set_ylim(bottom - pad, top + pad)
        low, high = axes.get_ylim()
        share = (budget - low) / (high - low)
        axes.axvspan(least, right + 2 * wide, 0, share, color=GOOD, linewidth=0, zorder=0)
        axes.text(
            right + wide,
            low + 0.02 * (high - low),
            "INT8 pays here ",
            color=MUTED,
            ha="right",
            va="bottom",
            fontsize=10,
        )
        axes.axhline(0, color=MUTED, linewidth=0.8, zorder=1)
        axes.axhline(budget, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        axes.annotate(
            f"budget {points(budget)}",
            (left - wide, budget),
            (3, 3),
            textcoords="offset points",
            color=MUTED,
            fontsize=10,
        )
        for entry, fast, drop in places:
            look = style[entry.name]
            y = drop.points if drop else 0.0
            axes.errorbar(
                fast.times,
                y,
                xerr=[[fast.times - fast.low], [fast.high - fast.times]],
                yerr=[[y - drop.ci95[0]], [drop.ci95[1] - y]] if drop else None,
                fmt=look.marker,
                markersize=8,
                color=look.colour,
                markerfacecolor=look.colour if fast.valid else "none",
                elinewidth=2,
                capsize=3,
                zorder=3,
            )
            label = title_of(entry) + ("" if fast.valid else ", not valid")
            upper = drop.ci95[1] if drop else y
            axes.annotate(
                label,
                (fast.times, upper),
                (0, 7),
                textcoords="offset points",
                ha="center",
                color=look.colour,
                fontweight="bold",
                fontsize=10.5,
            )
        axes.set_xlabel(f"speed, {drawable(base.label)} = 1  (right is faster)")
        axes.set_ylabel("top-1 drop, points  (down is better)")
        axes.tick_params(length=0)
        axes.grid(color=GRID)

    return Plot(
        name="tradeoff",
        title="What was gained, what it cost",
        svg=render("tradeoff", draw),
        alt="Top-1 drop against speed. " + " ".join(_words(p, base) for p in places),
        caption=(
            "Each file with the 95 % intervals of its speed and its drop. INT8 pays when its whole "
            "cross lies in the shaded corner: to the right of every floating-point file and under "
            "the budget."
        ),
    )


def _places(study: Study) -> list[Place]:
    places: list[Place] = []
    for entry in study.entries:
        if entry is study.base:
            if entry.bench:
                places.append((entry, Speed(1, 1, 1, entry.timed), None))
            continue
        found = speed(entry, study.base, study) if study.base else None
        if found and entry.comparison:
            places.append((entry, found, entry.comparison.drop))
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
