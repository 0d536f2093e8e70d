"""The command `edgenext bench`."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.compare import show_compare
from edgenext.cli.evaluate import show_eval
from edgenext.cli.options import (
    Exif,
    Json,
    Limit,
    Seed,
    takes_ci_options,
)
from edgenext.errors import UsageError
from edgenext.options import BenchOptions, CiOptions, DataOptions
from edgenext.schema import DEVICE_KINDS, BenchReport


def _devices(incomplete: str) -> list[str]:
    """What a shell completes `--device` to."""
    from edgenext.devices.registry import known_devices

    names = ("cpu", *known_devices(), *DEVICE_KINDS)
    return [name for name in names if name.startswith(incomplete)]


@app.command()
@takes_ci_options
def bench(
    *,
    artifact: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="ARTIFACT...",
            help="The first is the base, and runs twice; default: those of the newest run here.",
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            help=f"cpu, a device's name, or {', '.join(DEVICE_KINDS)} for the only one.",
            autocompletion=_devices,
        ),
    ] = "cpu",
    data: Annotated[
        str | None, typer.Option(help="Score the same files there on these images.")
    ] = None,
    limit: Limit = None,
    exif: Exif = None,
    unit: Annotated[
        str,
        typer.Option(help="On a device: cpu, gpu, tensorrt, npu, nnapi, wasm; default: its own."),
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
    ci_options: CiOptions,
    json: Json = False,
) -> None:
    """Measure latency, interleaved, and say if it is valid.

    Each artifact runs in a process of its own, here or on a device. With --data the same files
    are scored there, too.
    """
    from edgenext import api
    from edgenext.cli.suggest import for_example
    from edgenext.commands.bench import newest_artifacts
    from edgenext.report.plots.drift import save_drift_plot
    from edgenext.report.plots.picture import picture_format
    from edgenext.schema.seal import sealed
    from edgenext.system.files import write_bytes

    if plot:
        picture_format(plot)
    is_bundled = not results and api.is_bundled(device)  # an unknown device is found first
    if not artifact:
        run_dir, artifact = newest_artifacts(Path(), for_example("bench"))
        console.note(f"measuring the {len(artifact)} files of the run {run_dir}")
    gate = api.read_gate("bench", ci_options, artifacts=len(artifact), has_images=data is not None)
    for flag, minutes in (("--sustained", sustained), ("--time-limit", time_limit)):
        if not math.isfinite(minutes):
            raise UsageError(f"{flag} {minutes} is not a number of minutes", "Give one such as 10")
    options = BenchOptions(
        threads=threads,
        batch=batch,
        rounds=rounds,
        unit=unit,
        delegate=delegate,
        lock_clocks=lock_clocks,
        sustained_s=60 * sustained,
        limit_s=60 * time_limit,
        seed=seed,
    )
    images = None if data is None else DataOptions(data, limit, seed, cast(Any, exif))
    with console.working() as context:
        result: BenchReport | Path
        if results:
            name = "iphone" if device == "cpu" else device
            result = api.import_results(artifact, results, images, device=name, context=context)
        elif is_bundled:
            if ci_options.fail_if or ci_options.csv or ci_options.parquet:
                raise UsageError(
                    "a bundle has no results yet",
                    "Give --fail-if, --csv and --parquet with --import",
                )
            result = api.bundle(artifact, device, images, options, context=context)
        else:
            result = api.bench(
                artifact, device, images, options, show_page=show_page, context=context
            )
    if isinstance(result, Path):
        show_bundle(result, artifact)
        return
    if plot:
        save_drift_plot(result, plot)
    if out:
        write_bytes(out, sealed(result, "report_sha256"))
    console.print_json(result.model_dump(mode="json")) if json else show_bench(result)
    console.show_gate(api.judge_results(gate, result, artifact))


def show_bench(report: BenchReport) -> None:
    """Latency and ratios; what is not valid says why."""
    from edgenext.cli.bench_table import columns, machine_line, notes, row

    heads = columns(report)
    console.table(machine_line(report), heads, [row(r, report) for r in report.results])
    for line in notes(report):
        console.out.print(line, soft_wrap=True)
    if report.compare:
        show_compare(report.compare)
    elif report.eval:
        show_eval(report.eval)


def show_page(url: str) -> None:
    """A page that has to be opened in the browser to measure in, also as a QR code."""
    console.err.print(f"Open in the browser to measure in: {url}", soft_wrap=True, markup=False)
    try:
        import segno
    except ImportError:
        return  # the address alone will do
    if console.err.is_terminal:
        segno.make(url, micro=False).terminal(sys.stderr, compact=True)


def show_bundle(folder: Path, artifacts: Sequence[Path]) -> None:
    """A bundle that was written, and what is to be done with it."""
    console.out.print(str(folder), soft_wrap=True)
    names = " ".join(str(path) for path in artifacts)
    console.err.print(
        f"Carry it to the device, do what its README.txt says, and bring it back: edgenext bench "
        f"{names} --import {folder}",
        soft_wrap=True,
    )
