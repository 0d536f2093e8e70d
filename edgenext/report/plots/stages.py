"""Where in the network INT8 loses precision: SQNR after the stem and each stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgenext.report.plots.canvas import Plot, drawable, looks, render, show_grid, title_of
from edgenext.report.study import Entry, Study
from edgenext.report.text import decibels, number
from edgenext.schema import Parity

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

EXACT_DB = 100.0
"""Above this SQNR, differences are rounding of float32: the stage stayed in float."""


def stages(study: Study) -> Plot | None:
    """SQNR of each quantized file against its network, from the stem to the logits."""
    series: list[tuple[Entry, Parity]] = []
    for entry in study.int8:
        parity = entry.artifact.parity if entry.artifact else None
        if parity and parity.stages:
            series.append((entry, parity))
    if not series:
        return None
    names = list(dict.fromkeys(name for _, parity in series for name in parity.stages))
    against = " and ".join(dict.fromkeys(parity.against for _, parity in series))

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        style = looks(study)
        places = {name: i for i, name in enumerate((*names, "logits"))}
        noisy = [v for _, p in series for v in _steps(p).values() if v < EXACT_DB]
        ceiling = 1.12 * max(noisy, default=EXACT_DB)
        for entry, parity in series:
            look = style[entry.name]
            steps = _steps(parity)
            x, y = [places[name] for name in steps], [min(v, ceiling) for v in steps.values()]
            axes.plot(
                x,
                y,
                look.dash,
                color=look.colour,
                marker=look.marker,
                markersize=6,
                markevery=[i for i, v in enumerate(steps.values()) if v < EXACT_DB],
                linewidth=1.8,
                label=title_of(entry),
            )
            for at, y_drawn, value in zip(x, y, steps.values(), strict=True):
                if value >= EXACT_DB:
                    axes.plot(at, y_drawn, look.marker, color=look.colour, mfc="none", ms=6)
                    _name(axes, at, y_drawn, "float", look.colour)
                elif len(series) == 1:
                    _name(axes, at, y_drawn, number(value, 1), look.colour)
        if len(series) > 1:
            axes.legend(frameon=False, loc="lower left")
        axes.set_xticks(list(places.values()), [drawable(name, 12) for name in places])
        axes.set_xlim(-0.4, len(places) - 0.6)
        axes.set_ylim(0, 1.12 * ceiling)
        axes.set_ylabel("SQNR, dB  (up is better)")
        show_grid(axes, "y")

    return Plot(
        name="stages",
        title="Where is precision lost?",
        svg=render("stages", draw),
        alt=f"SQNR against {against}. " + " ".join(_words(e, p) for e, p in series),
        caption=(
            "Signal-to-quantization-noise ratio after the stem and every stage, against "
            f"{against}. "
            "Every 6 dB less doubles the error; a sudden fall shows the stage to look at. Hollow "
            "marks at the top, if any, are exact up to float32 rounding."
        ),
    )


def _steps(parity: Parity) -> dict[str, float]:
    return parity.tensors


def _name(axes: Axes, x: float, y: float, text: str, colour: str) -> None:
    axes.annotate(
        text,
        (x, y),
        (0, 8),
        textcoords="offset points",
        ha="center",
        color=colour,
        fontsize=10.5,
        fontweight="bold",
    )


def _words(entry: Entry, parity: Parity) -> str:
    steps = ", ".join(f"{k} {decibels(v)} dB" for k, v in _steps(parity).items())
    return f"{entry.label}: {steps}."
