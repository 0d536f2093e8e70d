"""Where in the network quantization adds noise: one bar a site, in a file of its own."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from edgenext.report.plots.picture import save_picture
from edgenext.schema import SensitivityReport, SiteRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "stem": "#4d4d4d",
    "downsample": "#7f7f7f",
    "depthwise": "#0072b2",
    "pointwise": "#56b4e9",
    "head": "#332288",
    "activation": "#d55e00",
    "residual": "#009e73",
    "routing": "#999933",
    "norm": "#cc79a7",
    "attention": "#e69f00",
    "pool": "#bbbbbb",
}
"""One for each kind of site; distinguishable with colour blindness."""

NAMED = 8
"""How many of the sites with most noise are named in the plot."""


def noise(row: SiteRow) -> float:
    """Noise of a site quantized alone, in parts per million of the logits' energy."""
    return float(1e6 * 10 ** (-row.only.sqnr_db / 10))


def save_sensitivity_plot(report: SensitivityReport, path: Path) -> Path:
    """Draw the noise of every site, in the order of the network.

    Args:
        report: rows in graph order.
        path: of a .png or .svg file.

    Raises:
        UsageError: another kind of file.
        OutputError: the folder cannot be written.
    """

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        _bars(axes, report)
        _name_blocks(axes, report)
        axes.set_ylabel("noise of the site alone, ppm of the logits' energy")
        axes.set_title(
            f"{report.model}, {report.scheme} for {report.target}: every site quantized alone "
            f"({report.n} images)",
            fontsize=10,
            loc="left",
        )
        figure.legend(fontsize=7.5, ncols=6, frameon=False, loc="outside lower center")

    width = max(7.0, min(15.0, 1.5 + 0.115 * len(report.rows)))
    return save_picture(path, (width, 4.6), draw)


def _bars(axes: Axes, report: SensitivityReport) -> None:
    for kind, colour in COLOURS.items():
        rows = [(i, r) for i, r in enumerate(report.rows) if r.kind == kind]
        if rows:
            axes.bar(
                [i for i, _ in rows],
                [noise(r) for _, r in rows],
                color=colour,
                width=0.8,
                label=kind,
            )
    float_rows = [(i, r) for i, r in enumerate(report.rows) if r.kept]
    axes.bar(
        [i for i, _ in float_rows],
        [noise(r) for _, r in float_rows],
        color="white",
        alpha=0.65,
        width=0.8,
        label="kept in float by the recipe",
        hatch="////",
        edgecolor="#888888",
        linewidth=0,
    )
    worst = sorted(range(len(report.rows)), key=lambda i: -noise(report.rows[i]))[:NAMED]
    for i in worst:
        axes.annotate(
            report.rows[i].site,
            (i, noise(report.rows[i])),
            (0, 3),
            textcoords="offset points",
            ha="left",
            va="bottom",
            rotation=35,
            fontsize=7.5,
        )
    top = max((noise(r) for r in report.rows), default=1.0)
    axes.set_ylim(0, 1.35 * top if top > 0 else 1.0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.01)


def _name_blocks(axes: Axes, report: SensitivityReport) -> None:
    """Name the blocks below the bars, with a line between them."""
    centres: list[float] = []
    names: list[str] = []
    start = 0
    for name, rows in groupby(report.rows, key=lambda r: _block(r.site)):
        count = len(list(rows))
        centres.append(start + (count - 1) / 2)
        names.append(name)
        start += count
        axes.axvline(start - 0.5, color="#dddddd", linewidth=0.6, zorder=0)
    axes.set_xticks(centres, names, rotation=90, fontsize=7.5)
    axes.tick_params(axis="x", length=0)


def _block(site: str) -> str:
    """The block of a site: `stages.2.5`, `downsample 1`, or the first part of its name."""
    parts = site.split(".")
    if parts[0] == "stages":
        return ".".join(parts[:3])
    return f"downsample {parts[1]}" if parts[0] == "downsample_layers" else parts[0]
