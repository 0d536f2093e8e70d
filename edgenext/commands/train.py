"""Train a model, or go on from weights."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgenext.commands.context import Context
from edgenext.commands.folder import WorkOwner, work_folder
from edgenext.commands.images import labelled_images
from edgenext.commands.subject import Subject
from edgenext.data import ImageSet
from edgenext.errors import DataError
from edgenext.models.checkpoint import Checkpoint
from edgenext.models.labels import class_key
from edgenext.options import MODEL, DataOptions, ModelOptions
from edgenext.schema import Division
from edgenext.train import TrainRecipe, TrainResult
from edgenext.train.batches import steps_per_epoch
from edgenext.train.loop import train_network


@dataclass(frozen=True)
class Training:
    """Everything a training run starts from."""

    checkpoint: Checkpoint
    """The network before the training."""
    recipe: TrainRecipe
    """Epochs, batch size, learning rate and the rest."""
    images: ImageSet
    """What is trained on."""
    val: ImageSet
    """What top-1 is measured on; none of it is trained on."""
    name: str
    """How the weights will be called."""

    @property
    def summary(self) -> str:
        """What it does, in a sentence: small sets have few steps."""
        n, recipe = len(self.images), self.recipe
        steps = steps_per_epoch(self.images, recipe)
        start = "from scratch" if recipe.from_scratch else f"from {_file_name(self.checkpoint)}"
        epochs = "1 epoch" if recipe.epochs == 1 else f"{recipe.epochs} epochs"
        return (
            f"training {self.checkpoint.arch} {start} on {n:,} images of "
            f"{len(self.images.classes)} classes, {epochs} of {steps:,} "
            f"step{'s' if steps != 1 else ''}; top-1 is measured on {len(self.val):,} others"
        )


HELD_OUT = 0.2
"""The share of a data set without split folders that is not trained on."""

_log = logging.getLogger(__name__)


def prepare_training(
    model: str | None,
    data: str | Path,
    recipe: TrainRecipe,
    model_options: ModelOptions = MODEL,
    *,
    context: Context | None = None,
) -> Training:
    """The network and images of a training run.

    Without weights the network starts fresh, with as many classes as the data has; with weights
    it goes on from them, with a new head where their classes are not those of the data.

    Args:
        model: an architecture; None: the one that the weights fit, else the default.
        data: images with a train and a val part; a fifth of data without them is held out.
        recipe: everything else that decides the result.
        model_options: where the weights come from.
        context: what was loaded before.

    Raises:
        DataError: one class only, or images that cannot be used.
        CheckpointError: weights that do not fit.

    >>> from edgenext.train import TrainRecipe
    >>> recipe = TrainRecipe(epochs=1, batch_size=256)
    >>> training = prepare_training("edgenext_xx_small", "digits", recipe, ModelOptions(size=32))
    >>> training.name, training.checkpoint.num_classes
    ('edgenext_xx_small_digits', 10)
    """
    context = context or Context()
    folders = context.class_folders(data, "train")
    if len(folders) < 2:
        raise DataError(
            f"{data} has one class, {folders[0]}: a classifier needs two",
            "Put the images of each class into a folder of their own",
        )
    if model_options.weights is None:
        classes = model_options.num_classes or len(folders)
        model_options = replace(
            model_options, random_weights=True, num_classes=classes, seed=recipe.seed
        )
        checkpoint = context.checkpoint(model, model_options)
    else:
        recipe = recipe.model_copy(update={"from_scratch": False})
        checkpoint = _with_head_for(folders, str(data), model, model_options, context)
    division = _division(checkpoint, data, recipe.seed, context)
    subject, options = Subject(checkpoint=checkpoint), DataOptions(data, division=division)
    val = labelled_images(context, subject, options)
    images = labelled_images(context, subject, options, "train", exclude=val.hashes)
    name = f"{model or checkpoint.arch}_{Path(data).stem}"
    return Training(checkpoint, recipe, images, val, name)


def _division(
    checkpoint: Checkpoint, data: str | Path, seed: int, context: Context
) -> Division | None:
    """How data without split folders is divided: as before, if the weights were trained on it."""
    division, before = context.division(data, seed, HELD_OUT), checkpoint.division
    if division is None or before is None or before.data != division.data:
        return division
    if before.sha256 == division.sha256:
        return before
    _log.warning(
        "%s has changed since the weights were trained on it: some of the images that are held out "
        "now may have been trained on then",
        data,
    )
    return division


def knows_classes(checkpoint: Checkpoint, folders: Sequence[str]) -> bool:
    """Whether the outputs of a head are, or contain, the classes of a data set's folders."""
    if checkpoint.labels is None:
        return checkpoint.num_classes == len(folders)
    return set(map(class_key, folders)) <= set(map(class_key, checkpoint.labels))


def _with_head_for(
    folders: Sequence[str],
    data: str,
    model: str | None,
    options: ModelOptions,
    context: Context,
) -> Checkpoint:
    """Given weights, with a new head where theirs is of other classes than a data set's folders."""
    if not options.reset_head:
        checkpoint = context.checkpoint(model, options)
        if knows_classes(checkpoint, folders):
            return checkpoint
        _log.warning(
            "the %d classes of %s are not the %d of %s: a new head is trained",
            checkpoint.num_classes,
            _file_name(checkpoint),
            len(folders),
            data,
        )
    options = replace(options, reset_head=True, num_classes=options.num_classes or len(folders))
    checkpoint = context.checkpoint(model, options)
    if options.labels is None and not knows_classes(checkpoint, folders):
        checkpoint = replace(checkpoint, labels=None, class_names=None)  # of the old head
    return checkpoint


def train(
    training: Training,
    *,
    out: Path = Path("training"),
    resume: bool = False,
    context: Context | None = None,
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
    >>> train(training).epochs
    1
    """
    progress = (context or Context()).progress
    progress("training", 0, training.recipe.epochs)
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
            class_names=checkpoint.class_names,
        )


def _file_name(checkpoint: Checkpoint) -> str:
    return Path(checkpoint.source).name
