"""The command `edgenext sensitivity`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import Calib, Json, Recipe, Seed, Target, takes_model
from edgenext.options import DEFAULT_SCHEME, DEFAULT_TARGET, ENGINE, ModelOptions, QuantizeOptions
from edgenext.schema import (
    SensitivityReport,
    SiteRow,
)


@app.command()
@takes_model
def sensitivity(
    *,
    subject: Annotated[
        str | None,
        typer.Argument(metavar="MODEL|ARTIFACT", help="Default: what the weights fit."),
    ] = None,
    calib: Calib = "",
    data: Annotated[
        str | None,
        typer.Option(help="Labelled images to judge on; default: others of the calibration data."),
    ] = None,
    n: Annotated[int, typer.Option("-n", help="Calibration images.")] = 64,
    limit: Annotated[int, typer.Option(help="Images to judge on.")] = 64,
    site: Annotated[str, typer.Option(help="A site, or a pattern: `stages.2.*`.")] = "*",
    scheme: Annotated[str, typer.Option(help="A static scheme.")] = DEFAULT_SCHEME,
    target: Target = DEFAULT_TARGET,
    recipe: Recipe = None,
    seed: Seed = 0,
    show_all: Annotated[bool, typer.Option("--all", help="Show all sites, not the worst.")] = False,
    model_options: ModelOptions,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for sensitivity.json, .png, .svg.")
    ] = None,
    json: Json = False,
) -> None:
    """Measure what quantizing each site costs.

    Every site alone, and the recipe with that site changed. Stopped, it goes on later.
    """
    from edgenext import api
    from edgenext.cli.suggest import require_network
    from edgenext.report.plots.sensitivity import save_sensitivity_plot
    from edgenext.system.files import write_text

    require_network("sensitivity", subject, model_options, calib=not calib)
    quantize_options = QuantizeOptions(scheme, target, ENGINE, recipe, calib, n, seed)
    with console.working() as context:
        report = api.sensitivity(
            subject,
            quantize_options,
            model_options,
            data=data,
            limit=limit,
            site=site,
            context=context,
        )
    files = []
    if out is not None:
        files = [out / "sensitivity.json"]
        write_text(files[0], report.model_dump_json(indent=1) + "\n")
        files += [
            save_sensitivity_plot(report, out / f"sensitivity.{kind}") for kind in ("png", "svg")
        ]
    if json:
        console.print_json(report.model_dump(mode="json"))
    else:
        show_sensitivity(report, show_all)
        for file in files:
            console.out.print(str(file))


MOST_SITES = 20
"""Sites shown unless all are asked for."""


def show_sensitivity(report: SensitivityReport, show_all: bool) -> None:
    """Sites by the noise they make alone, the most first."""
    total = sum(10 ** (-r.only.sqnr_db / 10) for r in report.rows) or 1.0
    rows = sorted(report.rows, key=lambda r: r.only.sqnr_db)
    shown = rows if show_all else rows[:MOST_SITES]

    def change(row: SiteRow) -> str:
        return f"{row.changed.sqnr_db - report.recipe.sqnr_db:+.2f}"

    table = [
        (
            r.site,
            r.kind,
            f"{r.only.sqnr_db:.1f}",
            f"{100 * 10 ** (-r.only.sqnr_db / 10) / total:.1f}",
            f"{r.only.kl:.2g}",
            "" if r.only.top1 is None else f"{r.only.top1:.2f}",
            "float" if r.kept else "int",
            change(r),
        )
        for r in shown
    ]
    columns = ("site", "kind", "alone dB", "% of noise", "KL", "top-1 %", "recipe", "changed dB")
    console.table(
        f"{report.model}, {report.scheme} for {report.target}, {report.n} images: the recipe "
        f"rounded to the nearest stands at {report.recipe.sqnr_db:.1f} dB",
        columns,
        table,
    )
    if len(shown) < len(rows):
        console.out.print(f"{len(rows) - len(shown)} more with --all")
    console.out.print(
        "alone: only this site quantized; changed: the recipe with an int site in float, or with a "
        "float site quantized",
        soft_wrap=True,
    )
