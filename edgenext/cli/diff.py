"""The command `edgenext diff`."""

from __future__ import annotations

from typing import Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import Data, Json, Seed, takes_model
from edgenext.options import DataOptions, ModelOptions
from edgenext.schema import (
    DiffReport,
)


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
    model_options: ModelOptions,
    json: Json = False,
) -> None:
    """Show where two files of a network part, site by site.

    They may be of any two formats; a model is its PyTorch network.
    """
    from edgenext import api

    with console.working() as context:
        report = api.diff(
            a,
            b,
            DataOptions(data, limit, seed),
            model_options,
            threshold_db=threshold,
            context=context,
        )
    console.print_json(report.model_dump(mode="json")) if json else show_diff(report)


def _outputs(report: DiffReport) -> str:
    """How the outputs of two files agree."""
    if report.agreement is None:
        maps = ", ".join(f"{name} {db:.1f}" for name, db in report.outputs.items())
        return f"feature maps: {maps} dB SQNR, of"
    return f"logits: {report.logits_db:.1f} dB SQNR, same top-1 {report.agreement:.1f} % of"


def show_diff(report: DiffReport) -> None:
    """Where two files part, the network's sites in order."""
    console.out.print(report.sentence, soft_wrap=True)
    largest = "not a number" if report.max_abs is None else f"{report.max_abs:.2g}"
    console.out.print(f"{_outputs(report)} {report.n} images, largest difference {largest}")
    rows = [
        (
            f"{'> ' if r.site == report.first else '  '}{r.site}",
            r.kind,
            f"{r.sqnr_db:.1f}",
            "" if r.loss_db is None else f"{r.loss_db:+.1f}",
        )
        for r in report.sites
    ]
    if rows and not report.equal:
        console.table("", ("  site", "kind", "dB", "loss dB"), rows)
    if report.fitted:
        console.out.print(
            f"fitted: each channel's {report.fitted}, in which the files differ by design",
            soft_wrap=True,
        )
    for name in report.untraced:
        console.out.print(f"{name}: its runtime shows no tensors", soft_wrap=True)
    uncompared = (
        (report.only_a, f"only {report.a} shows"),
        (report.only_b, f"only {report.b} shows"),
        (report.unlike, "of another size in each"),
    )
    counts = [f"{reason} {len(sites)}" for sites, reason in uncompared if sites]
    if counts:
        console.out.print(
            f"sites not compared: {', '.join(counts)} (names with --json)", soft_wrap=True
        )
    console.show_data(report.images)
