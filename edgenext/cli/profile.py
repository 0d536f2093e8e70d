"""The command `edgenext profile`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import Json
from edgenext.schema import OperatorTime, ProfileReport


@app.command()
def profile(
    artifact: Annotated[
        Path, typer.Argument(metavar="ARTIFACT", help="A file that onnxruntime or OpenVINO runs.")
    ],
    threads: Annotated[int, typer.Option(help="Inside an operator.")] = 1,
    n: Annotated[int, typer.Option("-n", help="Inferences to average over.")] = 50,
    top: Annotated[int, typer.Option(help="Operators to show.")] = 20,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the slowest sites: a .png or .svg file.")
    ] = None,
    json: Json = False,
) -> None:
    """Show where the time of an inference goes, by operator and site.

    In onnxruntime or OpenVINO, beside the peak of a matrix product that this machine reaches in it.
    """
    from edgenext import api
    from edgenext.report.plots.picture import picture_format
    from edgenext.report.plots.profile import save_profile_plot

    if plot:
        picture_format(plot)
    with console.working() as context:
        report = api.profile(artifact, threads=threads, n=n, context=context)
    if plot:
        save_profile_plot(report, plot)
    console.print_json(report.model_dump(mode="json")) if json else show_profile(report, top)


def show_profile(report: ProfileReport, top: int) -> None:
    """The slowest operators, then the time by type of operator."""
    rates = ", ".join(f"{kind} {rate / 1e9:.1f}" for kind, rate in report.peaks.items())
    console.table(
        f"{report.artifact} on {report.cpu}, {report.runtime}, {report.threads} thread(s): "
        f"{report.p50_ms:.2f} ms an inference, {report.total_ms:.2f} ms in operators "
        f"(peak in 10⁹ multiply-adds a second: {rates})",
        ("operator", "site", "ms", "% of time", "10⁶ multiply-adds", "% of peak", "gap ms"),
        [_cells(row) for row in report.rows[:top]],
        text_columns=2,
    )
    if len(report.rows) > top:
        console.out.print(f"{len(report.rows) - top} more operators: --top")
    gaps = report.gap_by_operator
    kinds = [
        (kind, f"{ms:.3f}", f"{100 * ms / report.total_ms:.1f}", f"{gaps[kind]:.3f}")
        for kind, ms in report.by_operator.items()
    ]
    console.out.print()
    console.table("", ("operators of a type", "ms", "% of time", "gap ms"), kinds)
    console.out.print(
        f"{report.limit_ms:.2f} ms is the limit: multiply-adds at the rate of this runtime's "
        "matrix product at their shape, or bytes at the rate of copying; the gap is what an "
        "operator takes longer",
        soft_wrap=True,
    )


def _cells(row: OperatorTime) -> tuple[str, ...]:
    return (
        row.operator,
        row.site or "(added by the runtime)",
        f"{row.ms:.3f}",
        f"{100 * row.share:.1f}",
        "" if row.macs is None else f"{row.macs / 1e6:.2f}",
        "" if row.of_peak is None else f"{100 * row.of_peak:.0f}",
        f"{row.gap_ms:.3f}",
    )
