"""Which images INT8 answers otherwise: how sure the base was of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgenext.errors import InputError
from edgenext.report.load import LOGITS, RunLogits
from edgenext.report.plots.canvas import INK, MUTED, SERIES, Plot, drawable, quiet, render
from edgenext.report.study import Entry, Study
from edgenext.report.text import count, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 60
TICKS = 480
"""Ticks of a strip that can be told apart: more would only make the file larger."""


@dataclass(frozen=True)
class Flips:
    """The base's margin on each of N images (logits), and which answers changed, N bool each."""

    margin: NDArray[np.float64]
    lost: NDArray[np.bool_]
    gained: NDArray[np.bool_]
    other: NDArray[np.bool_]

    @property
    def changed(self) -> NDArray[np.bool_]:
        """All changed answers."""
        return self.lost | self.gained | self.other


def flips(study: Study, judged: Entry, logits: RunLogits) -> Plot | None:
    """A histogram of the base's top-1 margin, with the images whose answer changed underneath.

    Raises:
        InputError: logits that are not those of the run's comparison.
    """
    base = study.base
    if base is None or not {base.name, judged.name} <= logits.by_name.keys():
        return None
    if logits.by_name[base.name].shape[1] < 2:
        return None
    found = changed_answers(base, judged, logits)
    _check(found, judged, study)

    def draw(figure: Figure) -> None:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.25))
        # Changes crowd at small margins: the axis runs in square roots to give them room.
        most = float(np.quantile(found.margin, 0.995)) or 1.0
        clipped = np.sqrt(np.minimum(found.margin, most))
        marks = _marks(most)
        most = math.sqrt(most)
        above.hist(clipped, BINS, range=(0, most), color=MUTED, alpha=0.35)
        above.set_ylabel("images")
        above.set_xlim(0, most)
        quiet(above, "y")
        strips = (
            ("lost", found.lost, SERIES[2]),
            ("gained", found.gained, SERIES[1]),
            ("still wrong", found.other, MUTED),
        )
        for y, (_, which, colour) in enumerate(strips):
            _ticks(below, clipped[which], -y, most, colour)
        below.set_yticks(
            [0, -1, -2], [f"{name}  {int(which.sum()):,}" for name, which, _ in strips]
        )
        for label, (_, _, colour) in zip(below.get_yticklabels(), strips, strict=True):
            label.set_color(colour if colour != MUTED else INK)
        below.set_ylim(-2.6, 0.6)
        below.spines["left"].set_visible(False)
        below.grid(visible=False)
        below.tick_params(length=0)
        below.set_xticks(np.sqrt(marks), [f"{m:g}" for m in marks])
        below.set_xlabel(f"how sure {drawable(base.label)} was: first logit less the second")

    return Plot(
        name="flips",
        title="Which answers changed?",
        svg=render("flips", draw),
        alt=(
            f"Histogram of {base.label}’s top-1 margin on {count(len(found.margin), 'image')}, and "
            f"under it the images that {judged.label} answers otherwise: "
            f"{int(found.lost.sum()):,} lost, {int(found.gained.sum()):,} gained, "
            f"{int(found.other.sum()):,} wrong before and after."
        ),
        caption=_caption(found, base, judged),
    )


def changed_answers(base: Entry, judged: Entry, logits: RunLogits) -> Flips:
    """What became of the base's answers."""
    values = logits.by_name[base.name]
    first_two = np.sort(values, axis=1)[:, -2:].astype(np.float64)
    before, after = values.argmax(1), logits.by_name[judged.name].argmax(1)
    was, is_right = before == logits.labels, after == logits.labels
    return Flips(
        margin=first_two[:, 1] - first_two[:, 0],
        lost=was & ~is_right,
        gained=~was & is_right,
        other=(before != after) & ~was & ~is_right,
    )


def _ticks(axes: Axes, at: NDArray[np.float64], y: float, most: float, colour: str) -> None:
    places = np.unique(np.round(at / most * TICKS)) * most / TICKS
    # One path for all: a path each would make the file many times as large.
    x = np.repeat(places, 3)
    x[2::3] = np.nan
    axes.plot(x, np.tile((y - 0.34, y + 0.34, np.nan), len(places)), color=colour, linewidth=1)


def _marks(most: float) -> list[float]:
    """Round numbers up to `most`, about evenly apart where the axis runs in square roots."""
    unit = 10 ** math.floor(math.log10(most))
    steps = (0, 0.1, 0.5, 1, 2, 4) if most / unit >= 4 else (0, 0.05, 0.2, 0.5, 1, 2)
    return [unit * step for step in steps if unit * step <= most]


def _caption(found: Flips, base: Entry, judged: Entry) -> str:
    changed = found.margin[found.changed]
    if not len(changed):
        return f"{judged.label} gives the answer of {base.label} for every image."
    middle = f"{float(np.median(changed)):.2g}"
    near = (
        f"Its margin was {middle}" if len(changed) == 1 else f"Half of these had at most {middle}"
    )
    return (
        f"Of {count(len(found.margin), 'image')}, {judged.label} answers {len(changed):,} "
        f"otherwise. {near}; half of all images have a margin over "
        f"{number(float(np.median(found.margin)), 2)}. Changes "
        "far to the right would be damage, not close calls."
    )


def _check(found: Flips, judged: Entry, study: Study) -> None:
    """A plot must not contradict the table beside it."""
    if judged.comparison is None:
        return
    n, drop = study.summary.compare.n, judged.comparison.drop
    ours = (len(found.margin), int(found.lost.sum()), int(found.gained.sum()))
    if ours != (n, drop.lost, drop.gained):
        raise InputError(
            f"{LOGITS} is not of this run: for {judged.name} it gives {ours[1]} lost and "
            f"{ours[2]} gained of {ours[0]}, the run {drop.lost} and {drop.gained} of {n}",
            "Run `edgenext run` again, or delete it to do without",
        )
