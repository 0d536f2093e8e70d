"""Latency over the minutes of a run: what a device keeps up, one line a file."""

from __future__ import annotations

import io
from pathlib import Path

from edgenext.errors import UsageError
from edgenext.report.speed import round_medians
from edgenext.schema import BenchReport
from edgenext.system.files import write_bytes

DPI = 130
COLOURS = ("#4d4d4d", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00")
"""Told apart by people who are colour-blind; the first is the base's."""


def kind_of(path: Path) -> str:
    """The kind of picture that a file's name asks for.

    Raises:
        UsageError: none that can be drawn.
    """
    kind = path.suffix.removeprefix(".")
    if kind not in ("png", "svg"):
        raise UsageError(f"--plot {path.name} is no .png or .svg file", "Change its ending")
    return kind


def save_plot(report: BenchReport, path: Path) -> Path:
    """Draw the median of every round against time, or its number where time was not kept.

    Args:
        report: with the samples of every round.
        path: of a .png or .svg file.

    Raises:
        UsageError: nothing was timed, or another kind of file.
        OutputError: the file cannot be written.
    """
    import matplotlib.style
    from matplotlib.figure import Figure

    kind = kind_of(path)
    found = [(result, round_medians(result)) for result in report.results if result.samples_ms]
    timed = [(result, medians) for result, medians in found if medians is not None]
    if not timed:
        raise UsageError("nothing was timed that could be drawn", "Leave out --plot")
    in_time = all(len(r.round_ends_s) == len(r.rounds) for r, _ in timed)
    with matplotlib.style.context("default"):
        figure = Figure(figsize=(8.0, 4.4), layout="constrained")
        axes = figure.add_subplot()
        for i, (result, medians) in enumerate(timed):
            at = [s / 60 for s in result.round_ends_s] if in_time else [*range(1, len(medians) + 1)]
            name = result.artifact if result.valid else f"{result.artifact} (not valid)"
            axes.plot(at, medians, color=COLOURS[i % len(COLOURS)], linewidth=1.4, label=name)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("minutes" if in_time else "round")
        axes.set_ylabel("latency, ms (median of each round)")
        axes.grid(axis="y", color="#dddddd", linewidth=0.7)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=9)
        drawn = io.BytesIO()
        figure.savefig(drawn, format=kind, dpi=DPI)
    write_bytes(path, drawn.getvalue())
    return path
