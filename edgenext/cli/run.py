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
    AllImages,
    CalibCount,
    Limit,
    changed,
    command_line,
    one_of,
    takes_ci_options,
    takes_model,
)
from edgenext.errors import UsageError
from edgenext.options import AUTO, CiOptions, ModelOptions
from edgenext.targets.target import TARGETS


@app.command()
@takes_model
@takes_ci_options
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
    ci_options: CiOptions,
    limit: Limit = None,
    n: CalibCount = None,
    target: Annotated[
        str | None,
        typer.Option(
            help=f"{', '.join(TARGETS)}. `auto`: the fastest here.",
            autocompletion=one_of((AUTO, *TARGETS)),
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the benchmark; default 1.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            help="Where files are timed: cpu, or a device as in `edgenext bench`; default: cpu."
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Train first, for so many passes over the images.")
    ] = None,
    keep_logits: Annotated[
        bool, typer.Option("--keep-logits", help="Also keep all logits, in float16.")
    ] = False,
    max_drop: Annotated[
        float | None,
        typer.Option(help="Points of top-1 that INT8 may cost: stop when images decide it."),
    ] = None,
    all_images: AllImages = False,
    measure_again: Annotated[
        bool, typer.Option("--measure-again", help="Repeat the benchmark of a finished run.")
    ] = False,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The run's folder.")] = None,
) -> None:
    """Do it all: checkpoint to report. Resumes if stopped.

    Export, quantize, evaluate, benchmark and report. Without weights, or where theirs are other
    classes than the data's, it trains first. Data without train/ and val/ is divided.
    """
    from edgenext import api

    gate = api.read_gate("run", ci_options)
    chosen: dict[str, Any] = {
        "data": data,
        "calib": calib,
        "limit": limit,
        "max_drop": max_drop,
        "out": out,
    }
    chosen |= {"keep_logits": keep_logits or None, "epochs": epochs}
    chosen |= {"all_images": all_images or None}
    chosen |= {
        "quantize": _given(n=n, target=target),
        "bench": _given(threads=threads, device=device),
    }
    overrides = {k: v for k, v in chosen.items() if v is not None} | changed(model_options)
    _require_config_or_model(Path(subject))
    if Path(subject).suffix:
        config = api.read_config(Path(subject), overrides)
    elif data is None:
        raise UsageError(f"running {subject} needs evaluation images", "Give --data")
    else:
        config = api.make_config({"model": subject, "out": Path("runs") / subject} | overrides)
    with console.working() as context:
        paths = api.run(
            config,
            measure_again=measure_again,
            announce=console.announce,
            command=command_line(),
            context=context,
        )
    show_verdict(paths)
    console.show_gate(api.judge_run(gate, config.out, max_drop=config.budget))


def _given(**values: object) -> dict[str, object] | None:
    """The entries of a table of values that were given; None if none was."""
    return {name: value for name, value in values.items() if value is not None} or None


def _require_config_or_model(path: Path) -> None:
    """Refuse a folder of images and a file that is no configuration.

    Raises:
        UsageError: as above.
    """
    if path.is_dir():
        raise UsageError(
            f"{path} is a folder, not a model",
            f"Images are given with --data: edgenext run edgenext_xx_small --data {path}",
        )
    if path.is_file() and path.suffix.lower() != ".toml":
        raise UsageError(
            f"{path} is neither a run's TOML file nor the name of a model",
            "Weights are given with --weights: edgenext run edgenext_xx_small --weights FILE",
        )


def show_verdict(paths: Sequence[Path]) -> None:
    """What to do, in the report's four lines, and where the rest is.

    A report holds no path of the machine; a command that is to be typed here needs them.
    """
    from edgenext.report.headline import lines_in
    from edgenext.schema import Verdict
    from edgenext.system.names import without_paths

    document = next((p for p in paths if p.suffix == ".json"), None)
    if document:
        verdict = Verdict.model_validate(json.loads(document.read_text("utf-8"))["verdict"])
        typed = command_line()
        for line in lines_in(verdict, document.parent):
            here = line.replace(without_paths(typed), typed)
            console.out.print(here, soft_wrap=True, markup=False)
    for path in paths:
        console.out.print(str(path))
