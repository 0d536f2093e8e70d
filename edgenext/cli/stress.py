"""The command `edgenext stress`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import (
    Seed,
    takes_model,
)
from edgenext.options import ModelOptions


@app.command()
@takes_model
def stress(
    *,
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="Default: the model that the weights fit.")
    ] = None,
    seed: Seed = 0,
    strength: Annotated[
        float, typer.Option(help="Channels are scaled by 2 to the power of up to this.")
    ] = 3.0,
    model_options: ModelOptions,
    out: Annotated[Path, typer.Option("-o", "--out", help="The twin's weights file.")] = Path(
        "twin.safetensors"
    ),
) -> None:
    """Write an exact twin of a model that is hard to quantize.

    Its channels are rescaled, its logits are the same: a test for any quantizer.
    """
    from edgenext import api
    from edgenext.cli.suggest import require_network

    require_network("stress", model, model_options)
    with console.working() as context:
        path = api.stress(
            model, model_options, out=out, seed=seed, strength=strength, context=context
        )
    console.out.print(str(path), soft_wrap=True)
