"""The command `edgenext quantize`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.export import show_export
from edgenext.cli.options import (
    Batch,
    Calib,
    CalibCount,
    Features,
    Json,
    Out,
    Recipe,
    Seed,
    Target,
    Uint8,
    batch_size,
    one_of,
    takes_model,
)
from edgenext.formats.format import FORMATS
from edgenext.options import (
    DEFAULT_SCHEME,
    DEFAULT_TARGET,
    ENGINE,
    ExportOptions,
    ModelOptions,
    QuantizeOptions,
)
from edgenext.quantize.baseline_rows import BASELINES
from edgenext.targets.scheme import CALIBRATED, SCHEMES


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
    target: Target = DEFAULT_TARGET,
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
    from edgenext.targets.target import require_target

    require_network("quantize", subject, model_options, calib=not calib and scheme in CALIBRATED)
    quantize_options = QuantizeOptions(scheme, target, engine, recipe, calib, n, seed)
    export_options = ExportOptions(
        target=target,
        batch=batch_size(batch),
        uint8_input=uint8_input,
        features_only=features,
        format=format or require_target(target).format,
    )
    with console.working() as context:
        artifact = api.quantize(
            subject, quantize_options, model_options, export_options, out=out, context=context
        )
    result = artifact.result()
    console.print_json(result.model_dump(mode="json")) if json else show_export(result)
    if (result.target, result.scheme) == (DEFAULT_TARGET, DEFAULT_SCHEME) and not json:
        show_advice()


def show_advice() -> None:
    """What to expect of INT8 on this machine."""
    from edgenext.benchmark.advice import advice_line
    from edgenext.benchmark.environment import environment

    console.err.print(advice_line(environment()), soft_wrap=True)
