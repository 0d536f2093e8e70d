"""The command `edgenext train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgenext.cli import console
from edgenext.cli.app import app
from edgenext.cli.options import (
    Data,
    Out,
    Seed,
    one_of,
    takes_model,
)
from edgenext.options import ACCELERATORS, ModelOptions

if TYPE_CHECKING:
    from edgenext.train import EpochReport, TrainResult

RECIPE, WEIGHTS, PLACE = "Recipe", "Distillation and hooks", "Machine"


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
    val_data: Annotated[
        str | None, typer.Option(help="Images to measure accuracy on, if not in --data.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE.toml",
            help="Default: `small`, from 50,000 images on that of the architecture.",
            rich_help_panel=RECIPE,
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Any value of the recipe.", rich_help_panel=RECIPE
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the training images.", rich_help_panel=RECIPE)
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Images a batch, in each process.", rich_help_panel=RECIPE)
    ] = None,
    accumulate: Annotated[
        int | None, typer.Option(help="Batches a step.", rich_help_panel=RECIPE)
    ] = None,
    lr: Annotated[
        float | None, typer.Option(help="Peak learning rate.", rich_help_panel=RECIPE)
    ] = None,
    flip: Annotated[
        bool, typer.Option("--flip", help="Mirror half of the images.", rich_help_panel=RECIPE)
    ] = False,
    drop_path: Annotated[
        float | None,
        typer.Option(help="Stochastic depth of the last block.", rich_help_panel=RECIPE),
    ] = None,
    seed: Seed = 0,
    teacher: Annotated[
        str,
        typer.Option(
            metavar="FILE|timm/NAME",
            help="Learn its answers too: weights, ONNX file, or a timm model.",
            rich_help_panel=WEIGHTS,
        ),
    ] = "",
    teacher_weights: Annotated[
        Path | None, typer.Option(help="Weights of a timm teacher.", rich_help_panel=WEIGHTS)
    ] = None,
    hooks: Annotated[
        str,
        typer.Option(
            metavar="FILE.py:CLASS", help="Your own loss or steps.", rich_help_panel=WEIGHTS
        ),
    ] = "",
    accelerator: Annotated[
        str,
        typer.Option(
            help=f"{', '.join(ACCELERATORS)}.",
            autocompletion=one_of(ACCELERATORS),
            rich_help_panel=PLACE,
        ),
    ] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(help="Processes that decode photographs.", rich_help_panel=PLACE),
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Use torch.compile.", rich_help_panel=PLACE)
    ] = False,
    keep: Annotated[
        int, typer.Option(min=0, help="Earlier checkpoints to keep.", rich_help_panel=PLACE)
    ] = 0,
    checkpoint_minutes: Annotated[
        float,
        typer.Option(min=0, help="Between checkpoints within an epoch.", rich_help_panel=PLACE),
    ] = 10.0,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write event files.", rich_help_panel=PLACE)
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint in the folder.")
    ] = False,
    model_options: ModelOptions,
    out: Out = Path("training"),
) -> None:
    """Train a model, or go on from weights.

    Data without train/ and val/ is divided: a fifth of each class is held out. Weights of other
    classes get a new head. Under torchrun the processes share the work.
    """
    from edgenext import api
    from edgenext.train.processes import processes

    values = {
        "epochs": epochs, "batch_size": batch_size, "accumulate": accumulate, "lr": lr,
        "flip": flip or None, "drop_path": drop_path, "seed": seed,
    }  # fmt: skip
    values = {k: v for k, v in values.items() if v is not None} | _changes(changes or [])
    settings = api.TrainSettings(
        accelerator, workers, compiled, keep, checkpoint_minutes, tensorboard
    )
    if not processes().writes:
        console.set_up(verbose=False, quiet=True, color=False)
    with console.working() as context, context.progress.steps("decoding *", "training"):
        if recipe is None:
            chosen = api.choose_recipe(model, data, model_options, context=context, **values)
        else:
            chosen = api.load_recipe(recipe, **values)
        training = api.prepare_training(
            model, data, chosen, model_options, val_data=val_data, context=context
        )
        console.announce(training.summary, True)
        result = api.train(
            training,
            out=out,
            resume=resume,
            settings=settings,
            hooks=_hooks(hooks, teacher, teacher_weights, training),
            on_epoch=_show_epoch,
            context=context,
        )
    if processes().writes:
        show_training(result)


def _changes(texts: list[str]) -> dict[str, Any]:
    """The values of `--set`, as TOML reads them; what is no TOML is text.

    Raises:
        UsageError: one is not KEY=VALUE.
    """
    import tomllib

    from edgenext.errors import UsageError

    values: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--set {text!r} is not KEY=VALUE", "Such as --set mixing=1.0")
        try:
            values[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except (tomllib.TOMLDecodeError, RecursionError, ValueError):
            values[key.strip()] = value.strip()
    return values


def _hooks(name: str, teacher: str, weights: Path | None, training: Any) -> Any:
    """The user's own hooks, or those of a distillation; None for neither."""
    from edgenext import api
    from edgenext.commands.teacher import open_hooks
    from edgenext.errors import UsageError

    if name and teacher:
        raise UsageError("--hooks and --teacher exclude each other", "Derive from Distillation")
    if name:
        return open_hooks(name)
    if not teacher:
        return None
    network = training.checkpoint
    opened = api.open_teacher(teacher, network.num_classes, weights=weights)
    return api.Distillation(opened, network.eval)


def _show_epoch(report: EpochReport) -> None:
    """One line an epoch."""
    accuracy = ""
    if report.top1 is not None:
        accuracy = f", top-1 {report.top1:.2f} % averaged, {report.raw_top1:.2f} % raw"
    console.note(
        f"epoch {report.epoch}/{report.epochs}: loss {report.loss:.4f}{accuracy}, "
        f"lr {report.lr:.3g}, {report.images_per_s:.0f} images/s"
    )


def show_training(result: TrainResult) -> None:
    """Trained weights."""
    top1 = "" if result.top1 is None else f", top-1 {result.top1:.2f} %"
    epochs = "1 epoch" if result.epochs == 1 else f"{result.epochs} epochs"
    best = f", the weights of epoch {result.epoch}" if result.epoch != result.epochs else ""
    console.out.print(f"{result.weights}  {epochs}, {result.seconds:.0f} s{top1}{best}")
