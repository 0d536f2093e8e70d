"""The command `edgenext run`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import (
    Limit,
    changed,
    command_line,
    takes_model,
)
from edgenext.errors import UsageError
from edgenext.options import ModelOptions


@app.command()
@takes_model
def run(
    *,
    subject: Annotated[
        str, typer.Argument(metavar="CONFIG.toml|MODEL", help="A run's TOML file, or a model.")
    ],
    data: Annotated[
        str | None, typer.Option(help="Evaluation images: folder, zip or `digits`.")
    ] = None,
    calib: Annotated[
        str | None, typer.Option(help="Calibration images; default: --data's train.")
    ] = None,
    model_options: ModelOptions,
    limit: Limit = None,
    n: Annotated[
        int | None,
        typer.Option("-n", help="Calibration images; default 128, or all there are."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Train first, for so many passes over the images.")
    ] = None,
    keep_logits: Annotated[
        bool, typer.Option("--keep-logits", help="Also keep all logits, in float16.")
    ] = False,
    max_drop: Annotated[
        float | None, typer.Option(help="Points of top-1 that INT8 may cost.")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The run's folder.")] = None,
) -> None:
    """Do it all: checkpoint to report. Resumes if stopped.

    Export, quantize, evaluate, benchmark and report. Without weights, or where theirs are other
    classes than the data's, it trains first. Data without train/ and val/ is divided.
    """
    from edgenext import api

    chosen: dict[str, Any] = {
        "data": data,
        "calib": calib,
        "limit": limit,
        "max_drop": max_drop,
        "out": out,
    }
    chosen |= {"keep_logits": keep_logits or None, "epochs": epochs}
    chosen |= {"quantize": None if n is None else {"n": n}}
    overrides = {k: v for k, v in chosen.items() if v is not None} | changed(model_options)
    if Path(subject).suffix:
        config = api.read_config(Path(subject), overrides)
    elif data is None:
        raise UsageError(f"running {subject} needs evaluation images", "Give --data")
    else:
        config = api.make_config({"model": subject, "out": Path("runs") / subject} | overrides)
    with console.working() as context:
        paths = api.run(config, announce=console.announce, command=command_line(), context=context)
    show_verdict(paths)


def show_verdict(paths: Sequence[Path]) -> None:
    """The report's first sentence, and where the rest is."""
    verdict = next((p for p in paths if p.suffix == ".json"), None)
    if verdict:
        console.out.print(json.loads(verdict.read_text())["verdict"]["sentence"], soft_wrap=True)
    for path in paths:
        console.out.print(str(path))
