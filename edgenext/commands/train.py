"""Train a model, or go on from weights."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
from edgenext.train import EpochReport, TrainRecipe, TrainResult, load_recipe
from edgenext.train.accelerator import DEFAULT_SETTINGS, TrainSettings
from edgenext.train.hooks import Hooks, TrainingImages
from edgenext.train.loop import train_network
from edgenext.train.processes import processes
from edgenext.train.recipe import SMALL
from edgenext.train.sampler import epoch_batches

HELD_OUT = 0.2
"""The share of a data set without split folders that is not trained on."""
LARGE = 50_000
"""Training images from which on the published recipe is the default."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """Everything a training run starts from."""

    checkpoint: Checkpoint
    """The network before the training."""
    recipe: TrainRecipe
    """Epochs, batch size, learning rate and the rest."""
    images: TrainingImages
    """What is trained on."""
    val: ImageSet
    """What accuracy is measured on; none of it is trained on."""
    name: str
    """How the weights will be called."""

    @property
    def summary(self) -> str:
        """What it does, in a sentence: small sets have few steps."""
        n, recipe = len(self.images), self.recipe
        start = "from scratch" if recipe.from_scratch else f"from {_file_name(self.checkpoint)}"
        epochs = "1 epoch" if recipe.epochs == 1 else f"{recipe.epochs} epochs"
        group = processes()
        batches = len(epoch_batches(n, self.images.transform.size, recipe, 0, group.world))
        steps = -(-batches // recipe.accumulate)
        return (
            f"training {self.checkpoint.arch} {start} on {n:,} images of "
            f"{len(self.images.classes)} classes, {epochs} of {steps:,} "
            f"step{'s' if steps != 1 else ''}; top-1 is measured on {len(self.val):,} others; "
            f"recipe {recipe.recipe}"
        )


def choose_recipe(
    model: str | None,
    data: str | Path,
    model_options: ModelOptions = MODEL,
    *,
    context: Context | None = None,
    **changes: Any,
) -> TrainRecipe:
    """The recipe for a data set: that of the architecture, or for few images `small`.

    Args:
        model: an architecture; None: the one that the weights fit, else the default.
        data: what is trained on.
        model_options: where the weights come from.
        context: what was loaded before.
        changes: fields of the recipe, and their values.

    Raises:
        UsageError: unknown field, or a value out of range.

    >>> choose_recipe("edgenext_small", "digits", epochs=3).ema_ramp
    True
    """
    context = context or Context()
    name = SMALL
    if context.count_images(data, "train") >= LARGE:
        drawn = replace(model_options, random_weights=model_options.weights is None)
        name = model or context.checkpoint(None, drawn).arch
    return load_recipe(name, **changes)


def prepare_training(
    model: str | None,
    data: str | Path,
    recipe: TrainRecipe,
    model_options: ModelOptions = MODEL,
    *,
    val_data: str | Path | None = None,
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
        val_data: images to measure accuracy on, if they are not in `data`.
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
        recipe = recipe.model_copy(update={"from_scratch": True})
    else:
        recipe = recipe.model_copy(update={"from_scratch": False})
        checkpoint = _with_head_for(folders, str(data), model, model_options, context)
    if val_data and checkpoint.labels is None and len(folders) == checkpoint.num_classes:
        checkpoint = replace(checkpoint, labels=folders)  # one numbering for both
    division = None if val_data else _division(checkpoint, data, recipe.seed, context)
    subject, options = Subject(checkpoint=checkpoint), DataOptions(data, division=division)
    measured = replace(options, data=val_data) if val_data else options
    val = labelled_images(context, subject, measured)
    _require_filled(folders, data, context)
    images: TrainingImages
    if recipe.loader == "photos":
        images = context.photos(
            options,
            subject.transform,
            num_classes=checkpoint.num_classes,
            labels=checkpoint.labels,
            exclude=val.hashes,
        )
    else:
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
    settings: TrainSettings = DEFAULT_SETTINGS,
    hooks: Hooks | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    context: Context | None = None,
) -> TrainResult:
    """Train a network: see `edgenext train`.

    Args:
        training: see `prepare_training`.
        out: folder of the weights and the training checkpoint.
        resume: go on from the checkpoint in the folder.
        settings: accelerator, workers, and which files are left.
        hooks: replaces parts of the training, such as its loss.
        on_epoch: called with each epoch's report.
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
    checkpoint, recipe, n = training.checkpoint, training.recipe, len(training.images)
    progress("training", 0, recipe.epochs * n)
    owner = WorkOwner.of(checkpoint, drawn=recipe.from_scratch)
    with work_folder(out, owner) if processes().writes else contextlib.nullcontext():
        return train_network(
            checkpoint.network(drop_path=recipe.drop_path),
            training.images,
            training.val,
            recipe=recipe,
            out=out,
            resume=resume,
            on_epoch=on_epoch,
            on_step=lambda report: progress(
                "training", round(report.epochs * n), recipe.epochs * n
            ),
            name=training.name,
            class_names=checkpoint.class_names,
            settings=settings,
            hooks=hooks,
            start=checkpoint.sha256,
        )


def _require_filled(folders: Sequence[str], data: str | Path, context: Context) -> None:
    """Refuse classes without an image to train on.

    Raises:
        DataError: with their names.
    """
    empty = sorted(set(folders) & set(context.empty_classes(data, "train")))
    if empty:
        names = ", ".join(empty[:5]) + (f" and {len(empty) - 5} more" if len(empty) > 5 else "")
        raise DataError(
            f"{data} has no image of {names} to train on",
            "Add images, or remove the empty folders",
        )


def _file_name(checkpoint: Checkpoint) -> str:
    return Path(checkpoint.source).name
