"""The command `edgenext quantize`."""

from __future__ import annotations

from dataclasses import replace
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
    Recipe,
    Seed,
    Uint8,
    batch_size,
    one_of,
    takes_model,
)
from edgenext.errors import UsageError
from edgenext.formats.format import FORMATS
from edgenext.options import (
    AUTO,
    DEFAULT_QAT_LR,
    DEFAULT_SCHEME,
    DEFAULT_TARGET,
    ENGINE,
    GELUS,
    ExportOptions,
    ModelOptions,
    QatOptions,
    QuantizeOptions,
)
from edgenext.quantize.baseline_rows import BASELINES
from edgenext.targets.scheme import CALIBRATED, SCHEMES
from edgenext.targets.target import TARGETS, require_target

TRAINING_PANEL = "Quantization-aware training"


@app.command()
@takes_model
def quantize(
    *,
    subject: Annotated[
        str | None,
        typer.Argument(metavar="MODEL|ARTIFACT", help="Default: what the weights fit."),
    ] = None,
    calib: Calib = "",
    n: CalibCount = None,
    seed: Seed = 0,
    scheme: Annotated[
        str,
        typer.Option(
            help=f"{', '.join(SCHEMES)}; what a target runs differs.",
            autocompletion=one_of(SCHEMES),
        ),
    ] = DEFAULT_SCHEME,
    target: Annotated[
        str,
        typer.Option(
            help=f"Where the file will run: {', '.join(TARGETS)}. `auto`: the fastest here.",
            autocompletion=one_of((AUTO, *TARGETS)),
        ),
    ] = DEFAULT_TARGET,
    format: Annotated[  # noqa: A002 - the option's name
        str | None,
        typer.Option(
            help="Format of the file; default: the target's own.", autocompletion=one_of(FORMATS)
        ),
    ] = None,
    engine: Annotated[
        str, typer.Option(help=f"`edgenext`, or a baseline: {', '.join(BASELINES)}.")
    ] = ENGINE,
    recipe: Recipe = None,
    gelu: Annotated[
        str,
        typer.Option(
            help="`exact` GELU, or `relu` in its place: faster, less accurate. Default: as the "
            "recipe says.",
            autocompletion=one_of(GELUS),
        ),
    ] = "",
    qat: Annotated[
        int | None,
        typer.Option(
            "--qat",
            metavar="EPOCHS",
            help="Train the quantized graph, with the float network as its teacher.",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = None,
    qat_lr: Annotated[
        float | None,
        typer.Option(
            help=f"Learning rate; default {DEFAULT_QAT_LR:g}.", rich_help_panel=TRAINING_PANEL
        ),
    ] = None,
    qat_data: Annotated[
        str,
        typer.Option(
            help="Images, default those of --calib. No label is read.",
            rich_help_panel=TRAINING_PANEL,
        ),
    ] = "",
    qat_n: Annotated[
        int | None,
        typer.Option(min=1, help="Images an epoch; default all.", rich_help_panel=TRAINING_PANEL),
    ] = None,
    opset: Opset = None,
    batch: Batch = "1",
    uint8_input: Uint8 = False,
    features: Features = False,
    model_options: ModelOptions,
    out: Out = Path(),
    json: Json = False,
) -> None:
    """Quantize a model or a float artifact.

    `edgenext search` finds the fastest file within an accuracy budget.
    """
    from edgenext import api
    from edgenext.cli.suggest import require_network

    require_network("quantize", subject, model_options, calib=not calib and scheme in CALIBRATED)
    training = _qat_options(qat, qat_lr, qat_data, qat_n)
    quantize_options = QuantizeOptions(
        scheme, target, engine, recipe, calib, n, seed, qat=training, gelu=gelu
    )
    export_options = ExportOptions(
        batch=batch_size(batch), opset=opset, uint8_input=uint8_input, features_only=features
    )
    if target == AUTO:
        require_own_choice(["--format"] if format else [])
        keep_fastest(subject, quantize_options, model_options, export_options, out=out, json=json)
        return
    export_options = replace(
        export_options, target=target, format=format or require_target(target).format
    )
    with console.working() as context:
        artifact = api.quantize(
            subject, quantize_options, model_options, export_options, out=out, context=context
        )
    result = artifact.result()
    console.print_json(result.model_dump(mode="json")) if json else show_export(result)
    is_own = artifact.manifest.adopted is None
    if is_own and (result.target, result.scheme) == (DEFAULT_TARGET, DEFAULT_SCHEME) and not json:
        show_advice()


def _qat_options(
    epochs: int | None, lr: float | None, data: str, n: int | None
) -> QatOptions | None:
    """The options of the training, if there is one.

    Raises:
        UsageError: options of a training without `--qat`.
    """
    if epochs is None:
        given = {"--qat-lr": lr is not None, "--qat-data": bool(data), "--qat-n": n is not None}
        if any(given.values()):
            option = next(name for name, value in given.items() if value)
            raise UsageError(f"{option} is of a training", "Give --qat EPOCHS, such as --qat 2")
        return None
    return QatOptions(epochs, DEFAULT_QAT_LR if lr is None else lr, data, n)


def show_advice() -> None:
    """What to expect of INT8 on this machine."""
    from edgenext.benchmark.advice import advice_line
    from edgenext.benchmark.environment import environment

    console.err.print(advice_line(environment()), soft_wrap=True)
