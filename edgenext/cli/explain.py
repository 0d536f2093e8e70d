"""Commands that explain: where quantization hurts, where two files part."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import Data, Json, Seed, Target, takes_model
from edgenext.options import ModelOptions


@app.command()
@takes_model
def sensitivity(
    *,
    what: Annotated[
        str | None, typer.Argument(metavar="MODEL|ARTIFACT", help="Default: edgenext_small.")
    ] = None,
    calib: Annotated[str, typer.Option(help="Calibration images: folder, zip or `digits`.")] = "",
    data: Annotated[
        str | None,
        typer.Option(help="Labelled images to judge on; default: others of the calibration data."),
    ] = None,
    n: Annotated[int, typer.Option("-n", help="Calibration images.")] = 64,
    limit: Annotated[int, typer.Option(help="Images to judge on.")] = 64,
    site: Annotated[str, typer.Option(help="A site, or a pattern: `stages.2.*`.")] = "*",
    scheme: Annotated[str, typer.Option(help="A static scheme.")] = "w8a8-static",
    target: Target = "cpu-onnxruntime",
    recipe: Annotated[Path | None, typer.Option(help="A recipe file of your own.")] = None,
    seed: Seed = 0,
    every: Annotated[bool, typer.Option("--all", help="Show all sites, not the worst.")] = False,
    options: ModelOptions,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for sensitivity.json, .png, .svg.")
    ] = None,
    json: Json = False,
) -> None:
    """Measure what quantizing each site costs.

    Every site alone, and the recipe with that site changed. Stopped, it goes on later.
    """
    from edgenext import api
    from edgenext.files import write_text
    from edgenext.models.zoo import DEFAULT_MODEL
    from edgenext.options import QuantizeOptions
    from edgenext.report.plots.sensitivity import save_plot

    how = QuantizeOptions(scheme, target, "edgenext", recipe, calib, n, seed)
    with console.progress() as progress:
        report = api.sensitivity(
            what or DEFAULT_MODEL,
            how,
            options,
            data=data,
            limit=limit,
            site=site,
            progress=progress,
        )
    files = []
    if out is not None:
        files = [out / "sensitivity.json"]
        write_text(files[0], report.model_dump_json(indent=1) + "\n")
        files += [save_plot(report, out / f"sensitivity.{kind}") for kind in ("png", "svg")]
    if json:
        console.print_json(report.model_dump(mode="json"))
    else:
        console.show_sensitivity(report, every)
        for file in files:
            console.out.print(str(file))


@app.command()
@takes_model
def diff(
    *,
    a: Annotated[str, typer.Argument(metavar="A", help="A model or artifact.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another of the same network.")],
    data: Data,
    limit: Annotated[int, typer.Option(help="Images, drawn from all classes.")] = 16,
    seed: Seed = 0,
    threshold: Annotated[float, typer.Option(help="dB of SQNR below which B has parted.")] = 30.0,
    options: ModelOptions,
    json: Json = False,
) -> None:
    """Show where two files of a network part, site by site.

    They may be of any two formats; a model is its PyTorch network.
    """
    from edgenext import api

    with console.progress() as progress:
        report = api.diff(
            a, b, data, options, limit=limit, seed=seed, threshold_db=threshold, progress=progress
        )
    console.print_json(report.model_dump(mode="json")) if json else console.show_diff(report)
