"""The command `edgenext train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import (
    Data,
    Out,
    Seed,
    takes_model,
)
from edgenext.options import ModelOptions

if TYPE_CHECKING:
    from edgenext.train import TrainResult


@app.command()
@takes_model
def train(
    *,
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL", help="An architecture; default: the one that the weights fit."
        ),
    ] = None,
    data: Data,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step.")] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
    flip: Annotated[bool, typer.Option("--flip", help="Mirror half of the images.")] = False,
    drop_path: Annotated[
        float | None, typer.Option(help="Stochastic depth of the last block.")
    ] = None,
    seed: Seed = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint in the folder.")
    ] = False,
    model_options: ModelOptions,
    out: Out = Path("training"),
) -> None:
    """Train a model, or go on from weights.

    Data without train/ and val/ is divided: a fifth of each class is held out. Weights of other
    classes get a new head. AdamW, cosine schedule, averaged weights, a checkpoint every epoch.
    """
    from edgenext import api
    from edgenext.schema.validation import validated
    from edgenext.train import TrainRecipe

    values = {
        "epochs": epochs, "batch_size": batch_size, "lr": lr, "flip": flip,
        "drop_path": drop_path, "seed": seed,
    }  # fmt: skip
    changed = {k: v for k, v in values.items() if v is not None}
    recipe = validated(TrainRecipe, changed, "the recipe")
    with console.working() as context, context.progress.steps("decoding *", "training"):
        training = api.prepare_training(model, data, recipe, model_options, context=context)
        console.announce(training.summary, True)
        result = api.train(training, out=out, resume=resume, context=context)
    show_training(result)


def show_training(result: TrainResult) -> None:
    """Trained weights."""
    top1 = "" if result.top1 is None else f", top-1 {result.top1:.2f} %"
    epochs = "1 epoch" if result.epochs == 1 else f"{result.epochs} epochs"
    console.out.print(f"{result.weights}  {epochs}, {result.seconds:.0f} s{top1}")
