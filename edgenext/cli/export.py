"""Commands that turn a network into files for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import (
    Backend,
    Batch,
    Engine,
    ImageInput,
    IntegerIo,
    Ios,
    Jetpack,
    Json,
    Out,
    Soc,
    Uint8,
    batch_size,
    takes_model,
    told_options,
)
from edgenext.options import ModelOptions


@app.command()
@takes_model
def export(
    *,
    model: Annotated[str | None, typer.Argument(help="Default: edgenext_small.")] = None,
    format: Annotated[  # noqa: A002 - the option's name
        list[str] | None,
        typer.Option(
            help="onnx, coreml, tflite, openvino, executorch, tensorrt or qnn-context. Repeatable."
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Where the file will run; default: the format's own.")
    ] = None,
    scheme: Annotated[
        str, typer.Option("--scheme", "--precision", help="fp32, fp16, bf16, or as in quantize.")
    ] = "fp32",
    calib: Annotated[str, typer.Option(help="Calibration images of a static scheme.")] = "",
    n: Annotated[int, typer.Option("-n", help="Calibration images.")] = 128,
    opset: Annotated[int | None, typer.Option(help="ONNX opset, 13 to 23.")] = None,
    batch: Batch = "1",
    uint8_input: Uint8 = False,
    ios: Ios = None,
    image_input: ImageInput = False,
    integer_io: IntegerIo = False,
    engine: Engine = None,
    jetpack: Jetpack = None,
    backend: Backend = None,
    soc: Soc = None,
    no_fold: Annotated[
        bool, typer.Option("--no-fold", help="The plain graph, for comparison.")
    ] = False,
    features: Annotated[
        bool, typer.Option("--features", help="A backbone: the four stage outputs.")
    ] = False,
    tune: Annotated[
        bool, typer.Option("--tune", help="Measure the forms here and take the fastest.")
    ] = False,
    data: Annotated[
        str | None, typer.Option(help="Images to compare with PyTorch on; default: digits.")
    ] = None,
    options: ModelOptions,
    out: Out = Path(),
    json: Json = False,
) -> None:
    """Export a model to files that agree with PyTorch.

    Each file is executed and compared, stage by stage, before it is written.
    """
    from edgenext import api
    from edgenext.export.formats import require_format
    from edgenext.options import ExportOptions, QuantizeOptions

    formats = list(dict.fromkeys(format or ["onnx"]))
    given = {
        "ios": ios,
        "image": image_input or None,
        "integer_io": integer_io or None,
        "engine": engine,
        "jetpack": jetpack,
        "backend": backend,
        "soc": soc,
    }
    told = told_options(formats, given)
    results = []
    for name in formats:
        how = ExportOptions(
            form="naive" if no_fold else "",
            target=target or "",
            batch=batch_size(batch),
            opset=opset,
            uint8_input=uint8_input,
            features_only=features,
            file_format=name,
            told=told[name],
        )
        if tune:
            with console.busy("measuring the forms"):
                how = api.tuned(model, how, options)
        if scheme == "fp32":
            if calib:
                console.err.print("note: fp32 needs no calibration; --calib is ignored")
            with console.busy(f"exporting {name} and comparing with PyTorch"):
                artifact = api.export(model, options, how, out=out, data=data)
        else:
            place = target or require_format(name).target
            quantizing = QuantizeOptions(scheme, place, calib=calib, n=n)
            with console.progress() as progress:
                artifact = api.quantize(model, quantizing, options, how, out=out, progress=progress)
        results.append(artifact.result())
        if not json:
            console.show_export(results[-1])
    if json:
        rows = [r.model_dump(mode="json") for r in results]
        console.print_json(rows[0] if len(rows) == 1 else rows)


@app.command()
def env(
    name: Annotated[str, typer.Argument(metavar="FORMAT", help="tflite or tensorflow.")],
) -> None:
    """Make the private environment of a converter that cannot share one.

    It is found again by every command that needs it; one that exists is left as it is.
    """
    from edgenext import environments
    from edgenext.errors import UsageError
    from edgenext.export.formats import FORMATS

    if name in FORMATS and name not in environments.NAMES:
        kind = FORMATS[name]
        extra = f"pip install 'edgenext[{kind.extra or name}]'" if kind.needs else "nothing more"
        raise UsageError(f"{name} needs no environment of its own", f"It takes {extra}")
    with console.busy(f"installing what {name} needs"):
        python = environments.make(name)
    console.out.print(str(python), soft_wrap=True)
