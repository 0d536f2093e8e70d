"""The training loop."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
import torch
from torch.nn import functional as F

from edgenext.data import ImageSet
from edgenext.errors import DataError, EdgenextError, OverlapError, UsageError
from edgenext.models import zoo
from edgenext.models.network import EdgeNeXt
from edgenext.system.files import write_bytes, write_text
from edgenext.system.sums import write_sums
from edgenext.train.batches import steps_per_epoch, top1, training_batches
from edgenext.train.checkpoint import (
    FILE,
    TrainedSidecar,
    TrainingState,
    restore_checkpoint,
    save_checkpoint,
)
from edgenext.train.ema import Ema
from edgenext.train.optimizer import initialise, learning_rate, make_optimizer, set_drop_path
from edgenext.train.recipe import EpochReport, TrainRecipe, TrainResult

_log = logging.getLogger(__name__)


def train_network(
    network: EdgeNeXt,
    images: ImageSet,
    val: ImageSet | None,
    *,
    recipe: TrainRecipe,
    out: Path,
    resume: bool = False,
    on_epoch: Callable[[EpochReport], None] | None = None,
    name: str | None = None,
    class_names: tuple[str, ...] | None = None,
) -> TrainResult:
    """Train a network on the CPU and write weights, sidecar and checkpoint to `out`.

    The checkpoint is written after every epoch; Ctrl-C leaves the last complete one, and a resumed
    run ends with the same weights as one that was never interrupted. At the end `network` has the
    averaged weights and is in evaluation mode.

    Args:
        network: its weights are drawn anew unless the recipe keeps them.
        images: to train on.
        val: to measure top-1 on after every epoch; it influences nothing.
        recipe: everything that decides the result besides the images.
        out: the folder to write to.
        resume: continue from the checkpoint in `out`, if there is one.
        on_epoch: called with every epoch's report after its checkpoint is written.
        name: stem of the weights file; by default architecture and data set.
        class_names: what people call the classes, for the sidecar.

    Raises:
        UsageError: `network` is a backbone, or a resumed run has another recipe or other images.
        DataError: the images do not have the network's classes.
        OverlapError: `images` and `val` share images.
        CheckpointError: the checkpoint is damaged.
        OutputError: `out` cannot be written.
        EdgenextError: the loss is not finite.
    """
    _require_trainable(network, images, val, recipe)
    path = out / FILE
    with torch.random.fork_rng(devices=[]):
        run = _start_run(network, images, val, recipe)
        if resume and path.is_file():
            restore_checkpoint(run, path)
            _log.info("resuming %s after epoch %d", path, run.epoch)
        seconds_before = run.history[-1].seconds if run.history else 0.0
        start = time.perf_counter() - seconds_before
        while run.epoch < recipe.epochs:
            loss, lr = _train_epoch(run, images)
            accuracy = top1(run.ema.network, val) if val else None
            seconds = time.perf_counter() - start
            report = EpochReport(run.epoch + 1, recipe.epochs, loss, lr, seconds, accuracy)
            run.history.append(report)
            save_checkpoint(run, path)
            if on_epoch:
                on_epoch(report)
    network.load_state_dict(run.ema.network.state_dict())
    network.eval().to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    name = name or f"{run.arch}_{Path(images.info.data).stem}"
    return _write_weights(network, run, images, val, out, name, class_names)


def _start_run(
    network: EdgeNeXt, images: ImageSet, val: ImageSet | None, recipe: TrainRecipe
) -> TrainingState:
    """The state of a run before its first epoch; seeds torch's generator."""
    torch.manual_seed(recipe.seed)
    if recipe.from_scratch:
        initialise(network)
    set_drop_path(network, recipe.drop_path)
    # channels last halves the time of a step on CPUs
    network.train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return TrainingState(
        network,
        Ema(network, recipe.ema_decay),
        make_optimizer(network, recipe),
        recipe,
        _arch_name(network),
        images.info.sha256,
        val.info.sha256 if val else None,
    )


def _train_epoch(run: TrainingState, images: ImageSet) -> tuple[float, float]:
    """Train one epoch; the mean loss and the last learning rate."""
    recipe, steps, total, lr = run.recipe, steps_per_epoch(images, run.recipe), 0.0, 0.0
    for i, (x, y) in enumerate(training_batches(images, recipe)):
        lr = learning_rate(recipe, run.epoch + (i + 1) / steps)
        for group in run.optimizer.param_groups:
            group["lr"] = lr
        loss = F.cross_entropy(run.network(x), y, label_smoothing=recipe.label_smoothing)
        value = loss.item()
        if not math.isfinite(value):
            raise EdgenextError(
                f"the loss became {value} in epoch {run.epoch + 1} at learning rate {lr:.3g}",
                "Lower lr or lengthen warmup_epochs",
            )
        run.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(run.network.parameters(), recipe.clip_norm)
        run.optimizer.step()
        run.ema.update(run.network, run.epoch * steps + i)
        total += value
    return total / steps, lr


def _arch_name(network: EdgeNeXt) -> str:
    return next(name for name in zoo.arch_table() if zoo.arch(name) == network.arch)


def _require_trainable(
    network: EdgeNeXt, images: ImageSet, val: ImageSet | None, recipe: TrainRecipe
) -> None:
    if network.features_only:
        raise UsageError("a backbone has no head: it cannot be trained as a classifier")
    for s in (images, val) if val else (images,):
        if len(s.classes) != network.num_classes:
            raise DataError(
                f"{s.info.data} is loaded for {len(s.classes)} classes, the network has "
                f"{network.num_classes}",
                "Create the network with the classes of the data",
            )
        zoo.check_size(s.transform.size, s.transform.size)
    if val and (val.transform != images.transform or val.classes != images.classes):
        raise UsageError("training and validation images differ in transform or classes")
    shared = set(images.hashes) & set(val.hashes if val else ())
    if val and shared:
        names = [n for n, h in zip(val.names, val.hashes, strict=True) if h in shared]
        raise OverlapError(
            f"{len(names)} of the {len(val)} validation images are also training images, for "
            f"example {' and '.join(names[:2])}",
            "Exclude them from training",
        )
    if network.arch.batch_norm and min(recipe.batch_size, len(images)) < 2:
        raise UsageError(
            f"{_arch_name(network)} has batch norms, which cannot train on one image at a time",
            "Use a batch size of at least 2, and at least 2 images",
        )


def _write_weights(
    network: EdgeNeXt,
    run: TrainingState,
    images: ImageSet,
    val: ImageSet | None,
    out: Path,
    name: str,
    class_names: tuple[str, ...] | None,
) -> TrainResult:
    """Write the averaged weights and their sidecar."""
    weights, sidecar = out / f"{name}.safetensors", out / f"{name}.json"
    last = run.history[-1]
    record = TrainedSidecar(
        arch=run.arch,
        num_classes=network.num_classes,
        eval=images.transform.model_dump(),
        labels=images.classes,
        class_names=class_names,
        division=images.info.division,
        trained_on=images.info.model_dump(),
        top1=last.top1,
        evaluated_on=val.info.model_dump() if val else None,
        epochs=run.epoch,
        seconds=round(last.seconds, 1),
        recipe=run.recipe,
    )
    state = {k: v.contiguous() for k, v in network.state_dict().items()}
    # the sidecar first: weights never exist without the transform that they need
    write_text(sidecar, record.model_dump_json(indent=1, exclude_none=True) + "\n")
    write_bytes(weights, safetensors.torch.save(state, {"format": "pt"}))
    write_sums(out, [weights, sidecar, out / FILE], keep=True)
    return TrainResult(
        name=name,
        weights=weights,
        sidecar=sidecar,
        checkpoint=out / FILE,
        epochs=run.epoch,
        seconds=last.seconds,
        loss=last.loss,
        top1=last.top1,
        history=tuple(run.history),
    )
