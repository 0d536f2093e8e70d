"""Which answers INT8 changes, and how sure the base was of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgenext.report.answers import ChangedAnswers, answers_of
from edgenext.report.plots.canvas import INK, MUTED, SERIES, Plot, drawable, render, show_grid
from edgenext.report.predictions import RunPredictions
from edgenext.report.study import Entry, Study
from edgenext.report.text import count, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 60
TICKS = 480
"""Distinguishable ticks of a strip: more would only make the file larger."""


def flips(study: Study, judged: Entry, predictions: RunPredictions) -> Plot | None:
    """A histogram of the base's top-1 margin, with the images whose answer changed underneath.

    Raises:
        InputError: the predictions are not those of the run's comparison.
    """
    base, changes = study.base, answers_of(study, judged, predictions)
    if base is None or changes is None:
        return None
    if (predictions.by_name[base.name].second < 0).any():  # one class has no rival
        return None
    return Plot(
        name="flips",
        title="How sure was the base of the answers that changed?",
        svg=render("flips", lambda figure: _draw(figure, changes, base)),
        alt=(
            f"Histogram of {base.label}’s top-1 margin on {count(len(changes.margin), 'image')}, "
            f"and under it the images that {judged.label} answers differently: "
            f"{int(changes.lost.sum()):,} lost, {int(changes.gained.sum()):,} gained, "
            f"{int(changes.other.sum()):,} wrong before and after."
        ),
        caption=_caption(changes, base, judged),
    )


def _draw(figure: Figure, changes: ChangedAnswers, base: Entry) -> None:
    """The histogram of margins, and a strip of ticks for each kind of change."""
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.25))
    # Most changes have small margins: a square-root axis gives them room.
    most = float(np.quantile(changes.margin, 0.995)) or 1.0
    clipped = np.sqrt(np.minimum(changes.margin, most))
    marks = _marks(most)
    most = math.sqrt(most)
    above.hist(clipped, BINS, range=(0, most), color=MUTED, alpha=0.35)
    above.set_ylabel("images")
    above.locator_params("y", integer=True)
    above.set_xlim(0, most)
    show_grid(above, "y")
    strips = (
        ("lost", changes.lost, SERIES[2]),
        ("gained", changes.gained, SERIES[1]),
        ("still wrong", changes.other, MUTED),
    )
    for y, (_, mask, colour) in enumerate(strips):
        _ticks(below, clipped[mask], -y, most, colour)
    below.set_yticks([0, -1, -2], [f"{name}  {int(mask.sum()):,}" for name, mask, _ in strips])
    for label, (_, _, colour) in zip(below.get_yticklabels(), strips, strict=True):
        label.set_color(colour if colour != MUTED else INK)
    below.set_ylim(-2.6, 0.6)
    below.spines["left"].set_visible(False)
    below.grid(visible=False)
    below.tick_params(length=0)
    below.set_xticks(np.sqrt(marks), [f"{m:g}" for m in marks])
    below.set_xlabel(f"how sure {drawable(base.label)} was: first logit minus second")


def _ticks(axes: Axes, at: NDArray[np.float64], y: float, most: float, colour: str) -> None:
    places = np.unique(np.round(at / most * TICKS)) * most / TICKS
    # One path for all ticks: a path for each would make the file many times as large.
    x = np.repeat(places, 3)
    x[2::3] = np.nan
    axes.plot(x, np.tile((y - 0.34, y + 0.34, np.nan), len(places)), color=colour, linewidth=1)


def _marks(most: float) -> list[float]:
    """Round numbers up to `most`, about evenly spaced on a square-root axis."""
    unit = 10 ** math.floor(math.log10(most))
    steps = (0, 0.1, 0.5, 1, 2, 4) if most / unit >= 4 else (0, 0.05, 0.2, 0.5, 1, 2)
    return [unit * step for step in steps if unit * step <= most]


def _caption(changes: ChangedAnswers, base: Entry, judged: Entry) -> str:
    margins = changes.margin[changes.changed]
    if not len(margins):
        return f"{judged.label} gives the same answer as {base.label} for every image."
    median = f"{float(np.median(margins)):.2g}"
    first = (
        f"Its margin was {median}"
        if len(margins) == 1
        else f"Half of these had a margin of at most {median}"
    )
    return (
        f"Of {count(len(changes.margin), 'image')}, {judged.label} answers {len(margins):,} "
        f"differently. {first}; half of all images have a margin over "
        f"{number(float(np.median(changes.margin)), 2)}. Changes "
        "far to the right would be real errors, not close calls."
    )
