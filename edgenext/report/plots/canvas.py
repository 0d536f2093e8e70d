"""Shared by all plots: size, colours that follow the page, and reproducible SVG."""

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
"""Inches of 72 units: two plots fit side by side on a screen, one fills a phone."""

INK, MUTED, GRID, GOOD = "#010101", "#020202", "#030303", "#040404"
SERIES = tuple(f"#0{i}0{i}0f" for i in range(1, 8))
VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    GOOD: "--good-soft",
    **{colour: f"--s{i}" for i, colour in enumerate(SERIES)},
}
"""Colour in the drawing → the variable of the page that replaces it, for dark mode and print."""

MARKERS = "osD^vPX"
DASHES = ("-", "-", "-", "--", "-.", ":", "--")


@dataclass(frozen=True)
class Plot:
    """An SVG element with its heading, its description in words, and its caption."""

    name: str
    title: str
    svg: str
    alt: str
    caption: str


@dataclass(frozen=True)
class Look:
    """How an entry is drawn in every plot; distinguishable without colour."""

    colour: str
    marker: str
    dash: str


def looks(study: Study) -> dict[str, Look]:
    """The look of each entry by name; the base is grey."""
    indices = [(e, i % len(SERIES)) for i, e in enumerate(study.entries)]
    return {e.name: Look(SERIES[i], MARKERS[i], DASHES[i]) for e, i in indices}


def render(name: str, draw: Callable[[Figure], None], height: float = HEIGHT) -> str:
    """One `<svg>` element from a function that fills a figure.

    The same drawing gives the same bytes: matplotlib's defaults instead of the user's settings, a
    fixed hash salt, no date. Text stays text, in the page's font.
    """
    import matplotlib
    import matplotlib.style
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings: Any = {
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
    with matplotlib.style.context("default"), matplotlib.rc_context(settings):
        figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor="none")
        FigureCanvasSVG(figure)
        draw(figure)
        for axes in figure.axes:
            axes.set_facecolor("none")
        no_metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(out, format="svg", metadata=no_metadata)
    return _inline(out.getvalue(), name)


def drawable(text: str, most: int = 24) -> str:
    """A name in characters of the bundled font, shortened to `most` of them.

    The end is preserved: names of one network's files begin alike.
    """
    drawn = "".join(c if " " <= c <= "~" or c in "×–−’µ…" else "?" for c in text)
    return drawn if len(drawn) <= most else "…" + drawn[1 - most :]


def title_of(entry: Entry) -> str:
    """An entry's label in a plot."""
    return drawable(entry.label)


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Positions moved apart, upwards, until neighbours are at least `gap` from each other."""
    moved = list(places)
    order = sorted(range(len(places)), key=lambda i: places[i])
    for below, above in pairwise(order):
        moved[above] = max(moved[above], moved[below] + gap)
    return moved


def show_grid(axes: Axes, grid: str) -> None:
    """Grid lines across one axis only, and no tick marks."""
    axes.grid(visible=False, axis="x" if grid == "y" else "y")
    axes.tick_params(length=0)


def _inline(document: str, name: str) -> str:
    """The `<svg>` element of an SVG file, ready for a page with others."""
    svg = document[document.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    # The plot's name makes its ids unique in the page.
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    return svg
