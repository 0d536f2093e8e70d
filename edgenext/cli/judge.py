"""Commands that judge what was made: accuracy, latency, reports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import (
    Data,
    Json,
    Limit,
    RuntimeOf,
    Seed,
    changed,
    command_line,
    takes_model,
)
from edgenext.errors import UsageError
from edgenext.options import BenchOptions, ModelOptions


@app.command(name="eval")
@takes_model
def evaluate(
    *,
    what: Annotated[
        list[str], typer.Argument(metavar="MODEL|ARTIFACT", help="Models and artifacts.")
    ],
    data: Data,
    target: RuntimeOf = "",
    limit: Limit = None,
    seed: Seed = 0,
    options: ModelOptions,
    json: Json = False,
) -> None:
    """Score models and artifacts: top-1, top-5 and loss.

    Each runs in its own runtime, artifacts with --target in that target's.
    """
    from edgenext import api

    with console.progress() as progress:
        result = api.evaluate(
            what, data, options, limit=limit, seed=seed, target=target, progress=progress
        )
    console.print_json(result.model_dump(mode="json")) if json else console.show_eval(result)


@app.command()
@takes_model
def compare(
    *,
    base: Annotated[str, typer.Argument(help="What the others are compared with.")],
    others: Annotated[list[str], typer.Argument(metavar="OTHER")],
    data: Data,
    target: RuntimeOf = "",
    limit: Limit = None,
    seed: Seed = 0,
    options: ModelOptions,
    json: Json = False,
) -> None:
    """Measure the paired accuracy drop against a base.

    All see the same images. The drop has an interval and a p-value. With --target the others run
    in that target's runtime, the base in its own.
    """
    from edgenext import api

    with console.progress() as progress:
        result = api.compare(
            base, others, data, options, limit=limit, seed=seed, target=target, progress=progress
        )
    console.print_json(result.model_dump(mode="json")) if json else console.show_compare(result)


@app.command()
def bench(
    artifact: Annotated[
        list[Path],
        typer.Argument(metavar="ARTIFACT", help="The first is the base of the ratios."),
    ],
    device: Annotated[
        str,
        typer.Option(
            help="cpu, a device's name, or jetson, android, iphone, linux for the only one."
        ),
    ] = "cpu",
    data: Annotated[
        str | None, typer.Option(help="Score the same files there on these images.")
    ] = None,
    limit: Limit = None,
    unit: Annotated[
        str, typer.Option(help="On a device: cpu, gpu, tensorrt, npu or nnapi; default: its own.")
    ] = "",
    delegate: Annotated[
        str, typer.Option(help="Android: path there of the NPU's LiteRT delegate.")
    ] = "",
    threads: Annotated[int, typer.Option(help="Inside an operator.")] = 1,
    batch: Annotated[int, typer.Option(help="Images an inference.")] = 1,
    rounds: Annotated[int, typer.Option(help="Interleaved rounds, 30 at least to be valid.")] = 30,
    sustained: Annotated[
        float, typer.Option(min=0, help="Go on for so many minutes; the last third counts.")
    ] = 0,
    lock_clocks: Annotated[
        bool, typer.Option("--lock-clocks", help="Jetson: lock the clocks meanwhile.")
    ] = False,
    time_limit: Annotated[
        float, typer.Option(min=1, help="Minutes after which a device is given up.")
    ] = 120,
    results: Annotated[
        Path | None, typer.Option("--import", help="Results that came back from a bundle.")
    ] = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Also write the JSON here.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw latency over time: a .png or .svg file.")
    ] = None,
    json: Json = False,
) -> None:
    """Measure latency, interleaved, and say if it is valid.

    Each artifact runs in a process of its own, here or on a device. With --data the same files
    are scored there, too.
    """
    from edgenext import api
    from edgenext.files import write_text
    from edgenext.report.plots import drift

    if plot:
        drift.kind_of(plot)
    how = BenchOptions(
        threads=threads,
        batch=batch,
        rounds=rounds,
        unit=unit,
        delegate=delegate,
        lock_clocks=lock_clocks,
        sustained_s=60 * sustained,
        limit_s=60 * time_limit,
    )
    with console.progress() as progress:
        told: dict[str, Any] = {"data": data, "limit": limit, "seed": seed, "progress": progress}
        if results:
            name = "iphone" if device == "cpu" else device
            result = api.imported(artifact, results, device=name, **told)
        elif api.is_carried(device):
            console.show_bundle(api.bundle(artifact, device, how=how, **told), artifact)
            return
        else:
            result = api.bench(artifact, device, how=how, **told)
    if plot:
        drift.save_plot(result, plot)
    if out:
        write_text(out, result.model_dump_json(indent=2) + "\n")
    console.print_json(result.model_dump(mode="json")) if json else console.show_bench(result)


@app.command()
def report(
    run_dir: Annotated[Path, typer.Argument(help="A folder made by `edgenext run`.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder for the report.")] = None,
    max_drop: Annotated[float, typer.Option(help="Points of top-1 that INT8 may cost.")] = 1.0,
) -> None:
    """Write the report of a run: HTML, Markdown and JSON."""
    from edgenext import api

    for path in api.report(run_dir, out, budget=max_drop):
        console.out.print(str(path))


@app.command()
@takes_model
def run(
    *,
    what: Annotated[str, typer.Argument(metavar="CONFIG.toml|MODEL")],
    data: Annotated[
        str | None, typer.Option(help="Evaluation images: folder, zip or `digits`.")
    ] = None,
    calib: Annotated[
        str | None, typer.Option(help="Calibration images; default: --data's train.")
    ] = None,
    options: ModelOptions,
    limit: Limit = None,
    max_drop: Annotated[
        float | None, typer.Option(help="Points of top-1 that INT8 may cost.")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The run's folder.")] = None,
) -> None:
    """Do it all: checkpoint to report. Resumes if stopped.

    Export, quantize, evaluate, benchmark and report.
    """
    from edgenext import pipeline
    from edgenext.config import make_config, read_config

    chosen = {"data": data, "calib": calib, "limit": limit, "max_drop": max_drop, "out": out}
    given = {k: v for k, v in chosen.items() if v is not None} | changed(options)
    if what.endswith(".toml"):
        config = read_config(Path(what), given)
    elif data is None:
        raise UsageError(f"running {what} needs evaluation images", "Give --data")
    else:
        config = make_config({"model": what, "out": Path("runs") / what} | given)
    with console.progress() as progress:
        paths = pipeline.run(
            config, progress=progress, announce=console.announce, command=command_line()
        )
    console.show_verdict(paths)
