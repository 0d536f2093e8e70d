"""The command `edgenext export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import (
    Batch,
    Calib,
    CalibCount,
    Features,
    Json,
    Opset,
    Out,
    Uint8,
    batch_size,
    one_of,
    options_by_format,
    takes_format_options,
    takes_model,
)
from edgenext.formats.format import FORMATS
from edgenext.options import ExportOptions, ModelOptions, OptionValues, QuantizeOptions
from edgenext.schema import FEATURES, ExportResult, Parity
from edgenext.targets.scheme import FLOAT, SCHEMES
from edgenext.targets.target import TARGETS


@app.command()
@takes_model
@takes_format_options("export")
def export(
    *,
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="Default: the model that the weights fit.")
    ] = None,
    format: Annotated[  # noqa: A002 - the option's name
        list[str] | None,
        typer.Option(help=f"{', '.join(FORMATS)}. Repeatable.", autocompletion=one_of(FORMATS)),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help=f"{', '.join(TARGETS)}; default: the format's own.", autocompletion=one_of(TARGETS)
        ),
    ] = None,
    scheme: Annotated[
        str,
        typer.Option(
            "--scheme",
            "--precision",
            help=f"fp32, or {', '.join(SCHEMES)}; what a target runs differs.",
            autocompletion=one_of([FLOAT, *SCHEMES]),
        ),
    ] = FLOAT,
    calib: Calib = "",
    n: CalibCount = None,
    opset: Opset = None,
    batch: Batch = "1",
    uint8_input: Uint8 = False,
    no_fold: Annotated[
        bool, typer.Option("--no-fold", help="The plain graph, for comparison.")
    ] = False,
    features: Features = False,
    tune: Annotated[
        bool, typer.Option("--tune", help="Measure the forms here and take the fastest.")
    ] = False,
    data: Annotated[
        str | None, typer.Option(help="Images to compare with PyTorch on; default: digits.")
    ] = None,
    model_options: ModelOptions,
    format_options: OptionValues,
    out: Out = Path(),
    json: Json = False,
) -> None:
    """Export a model to files that agree with PyTorch.

    Each file is executed and compared, stage by stage, before it is written.
    """
    from edgenext import api
    from edgenext.cli.suggest import require_network

    require_network("export", model, model_options)
    formats = list(dict.fromkeys(format or ["onnx"]))
    own_options = options_by_format(formats, format_options)
    if scheme == FLOAT and calib:
        console.err.print("note: fp32 needs no calibration; --calib is ignored")
    results = []
    try:
        several = formats if len(formats) > 1 else []
        with (
            console.working() as context,
            context.progress.steps(*(f"export {f}" for f in several)),
        ):
            for name in formats:
                context.progress(f"export {name}", 0, 0)
                options = ExportOptions(
                    form="naive" if no_fold else "",
                    target=target or "",
                    batch=batch_size(batch),
                    opset=opset,
                    uint8_input=uint8_input,
                    features_only=features,
                    format=name,
                    format_options=own_options[name],
                )
                if tune:
                    options = api.tuned(model, model_options, options, context=context)
                if scheme == FLOAT:
                    artifact = api.export(
                        model, model_options, options, out=out, data=data, context=context
                    )
                else:
                    place = target or FORMATS[name].target
                    quantizing = QuantizeOptions(scheme, place, calib=calib, n=n)
                    artifact = api.quantize(
                        model, quantizing, model_options, options, out=out, context=context
                    )
                results.append(artifact.result())
    finally:  # of several, those that were written
        if not json:
            for result in results:
                show_export(result)
    if json:
        rows = [r.model_dump(mode="json") for r in results]
        console.print_json(rows[0] if len(rows) == 1 else rows)


def agreement(p: Parity) -> str:
    """A parity, with its reference."""
    against = f"against {p.against} on {p.n} images"
    if p.agreement is None:
        maps = ", ".join(f"{name} {p.stages[name]:.1f}" for name in FEATURES if name in p.stages)
        return f"{against}: {maps} dB SQNR, largest difference {p.max_abs:.2g}"
    if p.identical:
        return f"{against}: every logit is equal"
    return (
        f"{against}: logits {p.sqnr_db:.1f} dB SQNR, largest difference {p.max_abs:.2g}, "
        f"same top-1 {p.agreement:.1f} %"
    )


def show_export(result: ExportResult) -> None:
    """A file that was written."""
    mib = result.size_bytes / 2**20
    console.out.print(
        f"{result.artifact}  {mib:.2f} MiB  {result.scheme}  sha256 {result.sha256[:12]}…"
    )
    if result.features:
        maps = ", ".join(f"{f.name} 1/{f.stride} of {f.channels}" for f in result.features)
        console.out.print(f"backbone, {result.features[0].layout}: {maps} channels")
    for parity in (result.parity, result.conversion_parity):
        if parity:
            console.out.print(agreement(parity))
    if result.conversion:
        c = result.conversion
        pieces = "" if c.partitions is None else f", {c.partitions} accelerated pieces"
        cost = f"{c.seconds or 0:.0f} s, {c.peak_mb or 0:.0f} MiB"
        console.out.print(
            f"{c.converter}: {cost}; {sum(c.operators.values())} "
            f"operators, {c.transposes} transposes{pieces}"
        )
    for warning in result.warnings:
        console.err.print(f"warning: {warning}", soft_wrap=True)
