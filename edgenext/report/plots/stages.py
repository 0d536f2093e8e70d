"""Where in the network INT8 loses precision: SQNR behind the stem and each stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgenext.report.plots.canvas import Plot, drawable, looks, quiet, render, title_of
from edgenext.report.study import Entry, Study
from edgenext.report.text import number
from edgenext.schema import Parity

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def stages(study: Study) -> Plot | None:
    """SQNR of each quantized file against PyTorch, from the stem to the logits."""
    series: list[tuple[Entry, Parity]] = []
    for entry in study.int8:
        parity = entry.artifact.parity if entry.artifact else None
        if parity and parity.stages:
            series.append((entry, parity))
    if not series:
        return None
    names = list(dict.fromkeys(name for _, parity in series for name in parity.stages))

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        style = looks(study)
        places = {name: i for i, name in enumerate((*names, "logits"))}
        top = 0.0
        for entry, parity in series:
            look = style[entry.name]
            steps = {**parity.stages, "logits": parity.sqnr_db}
            x, y = [places[name] for name in steps], list(steps.values())
            axes.plot(
                x,
                y,
                look.dash,
                color=look.colour,
                marker=look.marker,
                markersize=6,
                linewidth=1.8,
                label=title_of(entry),
            )
            top = max(top, *y)
            if len(series) == 1:
                for at, value in zip(x, y, strict=True):
                    axes.annotate(
                        number(value, 1),
                        (at, value),
                        (0, 8),
                        textcoords="offset points",
                        ha="center",
                        color=look.colour,
                        fontsize=10.5,
                        fontweight="bold",
                    )
        if len(series) > 1:
            axes.legend(frameon=False)
        axes.set_xticks(list(places.values()), [drawable(name, 12) for name in places])
        axes.set_xlim(-0.4, len(places) - 0.6)
        axes.set_ylim(0, 1.18 * top)
        axes.set_ylabel("SQNR, dB  (up is better)")
        quiet(axes, "y")

    return Plot(
        name="stages",
        title="Where is precision lost?",
        svg=render("stages", draw),
        alt="SQNR against PyTorch. " + " ".join(_words(e, p) for e, p in series),
        caption=(
            "Signal to quantization noise behind the stem and every stage, against PyTorch. "
            "Every 6 dB less is twice the error; a sudden fall names the stage to look at."
        ),
    )


def _words(entry: Entry, parity: Parity) -> str:
    steps = {**parity.stages, "logits": parity.sqnr_db}
    return f"{entry.label}: " + ", ".join(f"{k} {number(v, 1)} dB" for k, v in steps.items()) + "."
