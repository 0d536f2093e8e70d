"""Train a model, or go on from weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from edgenext.commands.context import Context
from edgenext.commands.folder import WorkOwner, work_folder
from edgenext.commands.images import labelled_images
from edgenext.commands.subject import Subject
from edgenext.data import ImageSet
from edgenext.models.checkpoint import Checkpoint
from edgenext.options import MODEL, DataOptions, ModelOptions
from edgenext.train import TrainRecipe, TrainResult
from edgenext.train.loop import train_network


@dataclass(frozen=True)
class Training:
    """Everything a training run starts from."""

    checkpoint: Checkpoint
    recipe: TrainRecipe
    images: ImageSet
    val: ImageSet
    name: str


def prepare_training(
    model: str,
    data: str | Path,
    recipe: TrainRecipe,
    model_options: ModelOptions = MODEL,
    *,
    context: Context | None = None,
) -> Training:
    """The network and images of a training run.

    Without weights the network starts fresh, with as many classes as the data has; with weights
    it goes on from them.

    Args:
        model: an architecture.
        data: images with a train and a val part.
        recipe: everything else that decides the result.
        model_options: where the weights come from.
        context: what was loaded before.

    >>> from edgenext.train import TrainRecipe
    >>> recipe = TrainRecipe(epochs=1, batch_size=256)
    >>> training = prepare_training("edgenext_xx_small", "digits", recipe, ModelOptions(size=32))
    >>> training.name, training.checkpoint.num_classes
    ('edgenext_xx_small_digits', 10)
    """
    context = context or Context()
    if model_options.weights is None:
        classes = model_options.num_classes or context.count_classes(data, "train")
        model_options = replace(
            model_options, random_weights=True, num_classes=classes, seed=recipe.seed
        )
    else:
        recipe = recipe.model_copy(update={"from_scratch": False})
    checkpoint = context.checkpoint(model, model_options)
    subject, options = Subject(checkpoint=checkpoint), DataOptions(data)
    val = labelled_images(context, subject, options)
    images = labelled_images(context, subject, options, "train", exclude=val.hashes)
    return Training(checkpoint, recipe, images, val, f"{model}_{Path(data).stem}")


def train(
    training: Training, out: Path, *, resume: bool = False, context: Context | None = None
) -> TrainResult:
    """Train a network: see `edgenext train`.

    Args:
        training: see `prepare_training`.
        out: folder of the weights and the training checkpoint.
        resume: go on from the checkpoint in the folder.
        context: what was loaded before.

    Raises:
        OutputError: another process trains in the folder, or it holds another network's training.
        EdgenextError: see `train_network`.

    >>> from edgenext.train import TrainRecipe
    >>> recipe = TrainRecipe(epochs=1, batch_size=256)
    >>> training = prepare_training("edgenext_xx_small", "digits", recipe, ModelOptions(size=32))
    >>> train(training, Path("training")).epochs
    1
    """
    progress = (context or Context()).progress
    checkpoint, recipe = training.checkpoint, training.recipe
    with work_folder(out, WorkOwner.of(checkpoint, drawn=recipe.from_scratch)):
        return train_network(
            checkpoint.network(drop_path=recipe.drop_path),
            training.images,
            training.val,
            recipe=recipe,
            out=out,
            resume=resume,
            on_epoch=lambda report: progress("training", report.epoch, report.epochs),
            name=training.name,
        )
