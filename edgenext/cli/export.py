"""The command `edgenext export`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.export_table import show_export
from edgenext.cli.fastest import keep_fastest, require_own_choice
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
from edgenext.formats.artifact import Artifact
from edgenext.formats.format import FORMATS
from edgenext.options import AUTO, ExportOptions, ModelOptions, OptionValues, QuantizeOptions
from edgenext.schema import ExportResult
from edgenext.system.turns import in_turns
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
            help=f"{', '.join(TARGETS)}; default: the format's own. `auto`: the fastest here.",
            autocompletion=one_of((AUTO, *TARGETS)),
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
    if target == AUTO:
        given = {"--format": bool(format), "--no-fold": no_fold, "--tune": tune}
        require_own_choice(name for name, is_given in given.items() if is_given)
        export_options = ExportOptions(
            batch=batch_size(batch),
            opset=opset,
            uint8_input=uint8_input,
            features_only=features,
        )
        quantizing = None if scheme == FLOAT else QuantizeOptions(scheme, AUTO, calib=calib, n=n)
        keep_fastest(
            model, quantizing, model_options, export_options, out=out, data=data, json=json
        )
        return
    formats = list(dict.fromkeys(format or ["onnx"]))
    own_options = options_by_format(formats, format_options)
    if scheme == FLOAT and calib:
        console.err.print("note: fp32 needs no calibration; --calib is ignored")
    results: list[ExportResult] = []
    try:
        several = formats if len(formats) > 1 else []
        with (
            console.working() as context,
            context.progress.steps(*(f"export {f}" for f in several)),
        ):

            def make(name: str) -> Artifact:
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
                    return api.export(
                        model, model_options, options, out=out, data=data, context=context
                    )
                place = target or FORMATS[name].target
                quantizing = QuantizeOptions(scheme, place, calib=calib, n=n)
                return api.quantize(
                    model, quantizing, model_options, options, out=out, context=context
                )

            at_once = 1 if tune else None  # timings need the machine for themselves
            works = [partial(make, name) for name in formats]
            results.extend(artifact.result() for artifact in in_turns(works, at_once))
    finally:  # of several, those that were written
        if not json:
            for result in results:
                show_export(result)
    if json:
        rows = [r.model_dump(mode="json") for r in results]
        console.print_json(rows[0] if len(rows) == 1 else rows)
