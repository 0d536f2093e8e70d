"""The training loop."""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from edgenext.data import ImageSet
from edgenext.errors import EdgenextError
from edgenext.models.network import EdgeNeXt
from edgenext.system.files import write_text
from edgenext.system.sums import write_sums
from edgenext.train.accelerator import (
    DEFAULT_SETTINGS,
    Precision,
    TrainSettings,
    channels_last,
    enough_memory,
    resolve_device,
)
from edgenext.train.batches import TrainingBatches, seed_of
from edgenext.train.checkpoint import (
    FILE,
    TrainedSidecar,
    restore_checkpoint,
    save_checkpoint,
)
from edgenext.train.ema import Ema
from edgenext.train.evaluation import evaluate_network
from edgenext.train.hooks import Hooks, TrainingImages
from edgenext.train.logs import BEST_EMA, TrainingLog, save_weights, written_files
from edgenext.train.mixing import mixing
from edgenext.train.optimizer import (
    freeze,
    initialise,
    learning_rate,
    set_drop_path,
    set_training,
)
from edgenext.train.processes import Processes, joined, processes
from edgenext.train.recipe import EpochReport, TrainRecipe, TrainResult
from edgenext.train.requirements import arch_name, require_trainable
from edgenext.train.sampler import epoch_batches
from edgenext.train.state import StepReport, TrainingState

_log = logging.getLogger(__name__)


def train_network(
    network: EdgeNeXt,
    images: TrainingImages,
    val: ImageSet | None,
    *,
    recipe: TrainRecipe,
    out: Path,
    resume: bool = False,
    on_epoch: Callable[[EpochReport], None] | None = None,
    on_step: Callable[[StepReport], None] | None = None,
    name: str | None = None,
    class_names: tuple[str, ...] | None = None,
    settings: TrainSettings = DEFAULT_SETTINGS,
    hooks: Hooks | None = None,
    start: str = "",
) -> TrainResult:
    """Train a network and write weights, sidecar, checkpoint, log and curves to `out`.

    The checkpoint is written after every epoch and every few minutes. A run that was stopped in any
    way and resumed ends with the same weights as one that was never interrupted, bit for bit on the
    CPU. At the end `network` has the averaged weights, is on the CPU and in evaluation mode. Under
    torchrun or `srun` the processes share the work, and the first of them writes.

    Args:
        network: its weights are drawn anew unless the recipe keeps them.
        images: to train on.
        val: to measure accuracy on after every epoch; it influences nothing but early stopping.
        recipe: everything that decides the result besides the images.
        out: the folder to write to.
        resume: continue from the checkpoint in `out`, if there is one.
        on_epoch: called with every epoch's report after its checkpoint is written.
        on_step: called after every step of the optimizer.
        name: stem of the weights file; by default architecture and data set.
        class_names: what people call the classes, for the sidecar.
        settings: where it computes, and which files it leaves.
        hooks: replaces parts of the training.
        start: sha256 of the weights that the network has, for the record.

    Raises:
        UsageError: `network` is a backbone, there is no such accelerator, or a resumed run has
            another recipe or other images.
        DataError: the images do not have the network's classes, or one cannot be decoded.
        OverlapError: `images` and `val` share images.
        CheckpointError: the checkpoint is damaged.
        OutputError: `out` cannot be written.
        MissingDependencyError: the recipe needs timm.
        EdgenextError: the loss is not finite, memory is exhausted, or another process has ended.
    """
    require_trainable(network, images, val, recipe)
    group = processes()
    device = resolve_device(settings.accelerator, group.local_rank)
    gpus = [device.index] if device.type == "cuda" else []
    with torch.random.fork_rng(gpus), joined(group, device), enough_memory(recipe):
        place = Place(device, group, settings)
        training = _Training(network, images, val, recipe, out, place, hooks or Hooks(), start)
        if resume:
            training.resume()
        training.run(on_epoch or _ignore, on_step or _ignore)
        return training.finish(
            name or f"{training.state.arch}_{Path(images.info.data).stem}", class_names
        )


def _ignore(_: object) -> None:
    """Nobody is told."""


@dataclass(frozen=True)
class Place:
    """Where a training computes."""

    device: torch.device
    group: Processes
    settings: TrainSettings


class _Training:
    """A training from its first step to its files."""

    def __init__(
        self,
        network: EdgeNeXt,
        images: TrainingImages,
        val: ImageSet | None,
        recipe: TrainRecipe,
        out: Path,
        place: Place,
        hooks: Hooks,
        start: str,
    ) -> None:
        self.images, self.val, self.recipe, self.out = images, val, recipe, out
        self.place, self.hooks = place, hooks
        torch.manual_seed(recipe.seed)
        if recipe.from_scratch:
            initialise(network)
        set_drop_path(network, recipe.drop_path)
        freeze(network, recipe)
        channels_last(network, place.device)
        hooks.prepare(network, place.device)
        self.precision = Precision(recipe, place.device)
        self.state = TrainingState(
            network,
            Ema(network, recipe.ema_decay, ramp=recipe.ema_ramp),
            hooks.optimizer(network, recipe),
            self.precision.scaler,
            recipe,
            arch_name(network),
            images.info.sha256,
            val.info.sha256 if val else None,
            " ".join(filter(None, ("" if recipe.from_scratch else start, hooks.identity))),
            place.group.world,
        )
        self.batches: TrainingBatches = hooks.data(images, recipe, place.settings)
        model = place.group.parallel(network, place.device)
        self.model: nn.Module = torch.compile(model) if place.settings.compile else model  # type: ignore[assignment]
        self.mix = mixing(recipe, network.num_classes)

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        path = self.out / FILE
        if path.is_file():
            restore_checkpoint(self.state, path)
            _log.info("resuming %s after epoch %d", path, self.state.epoch)

    def run(
        self, on_epoch: Callable[[EpochReport], None], on_step: Callable[[StepReport], None]
    ) -> None:
        """Train the epochs that are left."""
        state, recipe, group = self.state, self.recipe, self.place.group
        log = TrainingLog(self.out, self.place.settings) if group.writes else None
        self.started = time.perf_counter() - state.seconds
        while state.epoch < recipe.epochs and not _stops_early(state):
            lr = self._epoch(on_step)
            report = self._report(lr)
            state.history.append(report)
            state.batches, state.loss, state.seen, state.training_seconds = 0, 0.0, 0, 0.0
            if log:
                checkpoint = save_checkpoint(state, self.out / FILE)
                log.write(state, checkpoint)
                self.hooks.epoch_end(state, report, self.out)
            on_epoch(report)
        if log and state.history:
            log.plot(state.history)

    def _epoch(self, on_step: Callable[[StepReport], None]) -> float:
        """Train what is left of an epoch; the last learning rate."""
        state, recipe, group = self.state, self.recipe, self.place.group
        side = self.images.transform.size
        batches = epoch_batches(
            len(self.images), side, recipe, state.epoch, group.world, group.rank
        )
        total = sum(batch.seen for batch in batches)
        set_training(state.network, recipe)
        saved = began = time.perf_counter()
        before, lr = state.training_seconds, 0.0
        todo = batches[state.batches :]
        loader = self.batches.load(todo, state.epoch)
        first = state.batches + 1
        for number, (batch, (x, y)) in enumerate(zip(todo, loader, strict=True), first):
            begin = (number - 1) // recipe.accumulate * recipe.accumulate
            step = batches[begin : begin + recipe.accumulate]
            ends = number == begin + len(step)
            seed = seed_of(recipe.seed, state.epoch, number, group.rank)
            torch.manual_seed(seed)
            share = batch.seen / sum(b.seen for b in step)
            loss = self._backward(x, y, share, seed, ends)
            state.loss += loss * batch.seen
            state.seen += batch.seen
            if not ends:
                continue
            epochs = state.epoch + state.seen / total
            lr = learning_rate(recipe, epochs)
            self._step(lr)
            now = time.perf_counter()
            state.batches, state.training_seconds = number, before + now - began
            report = StepReport(state.steps, epochs, loss, lr)
            self.hooks.step(state, report)
            on_step(report)
            every = 60 * self.place.settings.checkpoint_minutes
            if group.writes and every and now - saved > every and number < len(batches):
                state.seconds, saved = now - self.started, now
                save_checkpoint(state, self.out / FILE)
        return lr

    def _backward(self, x: Tensor, y: Tensor, share: float, seed: int, ends: bool) -> float:
        """Add the gradients of a batch, times its share of the step; the batch's loss."""
        device = self.place.device
        x = x.to(device, non_blocking=True, memory_format=torch.channels_last)
        y = y.to(device, non_blocking=True)
        if self.mix:
            x, y = self.mix(x, y, seed)
        alone = not ends and isinstance(self.model, nn.parallel.DistributedDataParallel)
        with self.model.no_sync() if alone else contextlib.nullcontext():  # type: ignore[operator]
            with self.precision.autocast():
                loss = self.hooks.loss(self.model, x, y, self.recipe)
            value = loss.item()
            if not math.isfinite(value):
                raise self._not_finite(value, x)
            self.state.scaler.scale(loss * share).backward()  # type: ignore[no-untyped-call]
        return value

    def _not_finite(self, value: float, x: Tensor) -> EdgenextError:
        state = self.state
        saved = (
            f"the last good checkpoint, {self.out / FILE}, is of epoch {state.epoch}"
            if (self.out / FILE).is_file()
            else "no checkpoint was written"
        )
        epochs = state.epoch + state.seen / len(self.images)
        return EdgenextError(
            f"the loss became {value} in epoch {state.epoch + 1}, step {state.steps + 1}, a batch "
            f"of {len(x)} images at {x.shape[-1]} px, at learning rate "
            f"{learning_rate(self.recipe, epochs):.3g}; {saved}",
            "Lower lr or lengthen warmup_epochs",
        )

    def _step(self, lr: float) -> None:
        """One step of the optimizer and of the average."""
        state, recipe = self.state, self.recipe
        for group in state.optimizer.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)
        if recipe.clip_norm:
            state.scaler.unscale_(state.optimizer)
            torch.nn.utils.clip_grad_norm_(state.network.parameters(), recipe.clip_norm)
        state.scaler.step(state.optimizer)
        state.scaler.update()
        state.optimizer.zero_grad(set_to_none=True)
        state.ema.update(state.network, state.steps)
        state.steps += 1

    def _report(self, lr: float) -> EpochReport:
        """The epoch's report, with the accuracy of both sets of weights."""
        state, place = self.state, self.place
        totals = torch.tensor([state.loss, state.seen], dtype=torch.float64)
        loss, seen = place.group.total(totals).tolist()
        place.group.share_buffers(state.network, state.ema.network)
        raw = average = None
        if self.val:
            raw = evaluate_network(state.network, self.val, place.device, place.group)
            average = evaluate_network(state.ema.network, self.val, place.device, place.group)
        state.seconds = time.perf_counter() - self.started
        return EpochReport(
            state.epoch + 1,
            self.recipe.epochs,
            loss / seen,
            lr,
            state.seconds,
            average.top1 if average else None,
            average.top5 if average else None,
            raw.top1 if raw else None,
            raw.top5 if raw else None,
            round(state.seen / max(state.training_seconds, 1e-9), 2),
        )

    def finish(self, name: str, class_names: tuple[str, ...] | None) -> TrainResult:
        """Give the network its averaged weights, and write them with their sidecar."""
        state, group = self.state, self.place.group
        chosen = bool(self.recipe.early_stop and self.val)
        last = state.history[-1]
        best = max(state.history, key=lambda e: (e.top1 or 0, -e.epoch)) if chosen else last
        weights = state.ema.network.state_dict()
        if chosen and group.writes:
            weights = safetensors.torch.load_file(self.out / BEST_EMA)
        network = state.network
        network.load_state_dict(weights)
        network.requires_grad_(True).eval().to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        path, sidecar = self.out / f"{name}.safetensors", self.out / f"{name}.json"
        if group.writes:
            record = self._sidecar(best, chosen, class_names)
            # the sidecar first: weights never exist without the transform that they need
            write_text(sidecar, record.model_dump_json(indent=1, exclude_none=True) + "\n")
            save_weights(network, path)
            write_sums(self.out, [path, sidecar, *written_files(self.out)], keep=True)
        return TrainResult(
            name=name,
            weights=path,
            sidecar=sidecar,
            checkpoint=self.out / FILE,
            epochs=state.epoch,
            seconds=last.seconds,
            loss=last.loss,
            top1=best.top1,
            history=tuple(state.history),
            epoch=best.epoch,
        )

    def _sidecar(
        self, best: EpochReport, chosen: bool, class_names: tuple[str, ...] | None
    ) -> TrainedSidecar:
        state, images, val = self.state, self.images, self.val
        return TrainedSidecar(
            arch=state.arch,
            num_classes=state.network.num_classes,
            eval=images.transform.model_dump(),
            labels=images.classes,
            class_names=class_names,
            division=images.info.division,
            trained_on=images.info.model_dump(),
            top1=best.top1,
            evaluated_on=val.info.model_dump() if val else None,
            epochs=state.epoch,
            epoch=best.epoch,
            chosen=chosen,
            seconds=round(state.history[-1].seconds, 1),
            recipe=self.recipe,
            start=state.start,
        )


def _stops_early(state: TrainingState) -> bool:
    """Whether the last epochs brought no better top-1."""
    patience, scores = state.recipe.early_stop, [e.top1 or 0 for e in state.history]
    return bool(
        patience and len(scores) > patience and max(scores[:-patience]) >= max(scores[-patience:])
    )
