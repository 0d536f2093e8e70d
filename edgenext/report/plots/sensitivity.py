"""Where along the network quantization adds noise: one bar a site, a file of its own."""

from __future__ import annotations

import io
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from edgenext.schema import SensitivityReport, SiteRow
from edgenext.system.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
"""One a kind of site; told apart by people who are colour-blind."""

NAMED = 8
"""Sites with the most noise, which the plot names."""

DPI = 130


def noise(row: SiteRow) -> float:
    """Noise of a site alone, as parts in a million of the logits' energy."""
    return float(1e6 * 10 ** (-row.only.sqnr_db / 10))


def save_plot(report: SensitivityReport, path: Path) -> Path:
    """Draw every site's own noise along the network.

    Args:
        report: rows in graph order.
        path: of a .png or .svg file.

    Raises:
        OutputError: the folder cannot be written.
    """
    import matplotlib.style
    from matplotlib.figure import Figure

    with matplotlib.style.context("default"):
        width = max(7.0, min(15.0, 1.5 + 0.115 * len(report.rows)))
        figure = Figure(figsize=(width, 4.6), layout="constrained")
        axes = figure.add_subplot()
        _bars(axes, report)
        _stages(axes, report)
        axes.set_ylabel("noise of the site alone, ppm of the logits' energy")
        axes.set_title(
            f"{report.model}, {report.scheme} for {report.target}: every site quantized alone "
            f"({report.n} images)",
            fontsize=10,
            loc="left",
        )
        figure.legend(fontsize=7.5, ncols=6, frameon=False, loc="outside lower center")
        out = io.BytesIO()
        figure.savefig(out, format=path.suffix.removeprefix("."), dpi=DPI)
    write_bytes(path, out.getvalue())
    return path


def _bars(axes: Axes, report: SensitivityReport) -> None:
    for kind, colour in COLOURS.items():
        mine = [(i, r) for i, r in enumerate(report.rows) if r.kind == kind]
        if mine:
            axes.bar(
                [i for i, _ in mine],
                [noise(r) for _, r in mine],
                color=colour,
                width=0.8,
                label=kind,
            )
    kept = [(i, r) for i, r in enumerate(report.rows) if r.kept]
    axes.bar(
        [i for i, _ in kept],
        [noise(r) for _, r in kept],
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


def _stages(axes: Axes, report: SensitivityReport) -> None:
    """Name the blocks below the bars, with a line between stages."""
    places: list[float] = []
    names: list[str] = []
    at = 0
    for name, rows in groupby(report.rows, key=lambda r: _block(r.site)):
        count = len(list(rows))
        places.append(at + (count - 1) / 2)
        names.append(name)
        at += count
        axes.axvline(at - 0.5, color="#dddddd", linewidth=0.6, zorder=0)
    axes.set_xticks(places, names, rotation=90, fontsize=7.5)
    axes.tick_params(axis="x", length=0)


def _block(site: str) -> str:
    """The block a site belongs to: `stages.2.5`, `downsample 1`, or what stands alone."""
    parts = site.split(".")
    if parts[0] == "stages":
        return ".".join(parts[:3])
    return f"downsample {parts[1]}" if parts[0] == "downsample_layers" else parts[0]
