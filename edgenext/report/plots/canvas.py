"""What all plots share: size, colours that follow the page, and SVG that is the same every time."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from edgenext.report.study import Entry, Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT = 6.4, 4.3
"""Inches of 72 units: two plots stand side by side on a desk, one fills a phone."""

INK, MUTED, GRID, GOOD = "#010101", "#020202", "#030303", "#040404"
SERIES = tuple(f"#0{i}0{i}0f" for i in range(1, 8))
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    GOOD: "--good-soft",
    **{colour: f"--s{i}" for i, colour in enumerate(SERIES)},
}
"""Colours drawn with → the page's variables that replace them: dark pages and print work."""

MARKERS = "osD^vPX"
DASHES = ("-", "-", "-", "--", "-.", ":", "--")


@dataclass(frozen=True)
class Plot:
    """An SVG element, its heading, what it shows in words, and what to see in it."""

    name: str
    title: str
    svg: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Look:
    """How one entry is drawn in every plot: told apart without its colour too."""

    colour: str
    marker: str
    dash: str


def looks(study: Study) -> dict[str, Look]:
    """The look of each entry by name: grey for the base, blue and orange behind it."""
    kinds = [(e, i % len(SERIES)) for i, e in enumerate(study.entries)]
    return {e.name: Look(SERIES[i], MARKERS[i], DASHES[i]) for e, i in kinds}


def render(name: str, draw: Callable[[Figure], None], height: float = HEIGHT) -> str:
    """One `<svg>` element from a function that fills a figure.

    The same drawing gives the same bytes: matplotlib's defaults whatever the user's settings are,
    a fixed hash salt, no date. Text stays text, in the page's font.
    """
    import matplotlib
    import matplotlib.style
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    ours: Any = {
        "svg.hashsalt": name,
        "svg.fonttype": "none",
        "text.parse_math": False,
        "font.size": 11,
        "text.color": INK,
        "axes.labelcolor": MUTED,
        "axes.edgecolor": GRID,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.grid": True,
        "grid.color": GRID,
        "grid.linewidth": 0.6,
        "xtick.color": GRID,
        "ytick.color": GRID,
        "xtick.labelcolor": MUTED,
        "ytick.labelcolor": MUTED,
        "xtick.labelsize": 10,
        "ytick.labelsize": 10,
    }
    out = io.StringIO()
    with matplotlib.style.context("default"), matplotlib.rc_context(ours):
        figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor="none")
        FigureCanvasSVG(figure)
        draw(figure)
        for axes in figure.axes:
            axes.set_facecolor("none")
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(out, format="svg", metadata=nothing)
    return _inline(out.getvalue(), name)


def drawable(text: str, most: int = 24) -> str:
    """A name that the bundled font can draw, cut where it would not fit.

    It keeps its end: files of one network begin alike.
    """
    kept = "".join(c if " " <= c <= "~" or c in "×–−’µ…" else "?" for c in text)
    return kept if len(kept) <= most else "…" + kept[1 - most :]


def title_of(entry: Entry) -> str:
    """An entry's label in a plot."""
    return drawable(entry.label)


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Places moved apart, upwards, until neighbours are at least `gap` from each other."""
    moved = list(places)
    order = sorted(range(len(places)), key=lambda i: places[i])
    for below, above in pairwise(order):
        moved[above] = max(moved[above], moved[below] + gap)
    return moved


def quiet(axes: Axes, grid: str) -> None:
    """Grid lines across one axis only, and no tick marks."""
    axes.grid(visible=False, axis="x" if grid == "y" else "y")
    axes.tick_params(length=0)


def _inline(document: str, name: str) -> str:
    """The `<svg>` element of an SVG file, fit to stand in a page beside others."""
    svg = document[document.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    # Ids are unique in a page only with the plot's name before them.
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg
