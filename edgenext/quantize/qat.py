"""Quantization-aware training: a Q/DQ graph is trained to give the float graph's logits.

The float network is the teacher, so no label is read. The loss is the Kullback-Leibler divergence
of the teacher's classes from the student's (Hinton et al. 2015, at a temperature of 1), plus the
squared error of the centred logits as a share of their variance, which is the noise-to-signal ratio
that results report in dB.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from edgenext.data import ImageSet
from edgenext.errors import EdgenextError, UsageError
from edgenext.export.deployment_graph import Graph
from edgenext.formats.torch_graph import torch_graph
from edgenext.options import ENGINE, QatOptions
from edgenext.quantize.fake_quantizers import WeightQuantizer
from edgenext.quantize.recipe import Recipe
from edgenext.quantize.static import QuantizedGraph, clipping
from edgenext.quantize.trainable_graph import TrainableGraph
from edgenext.schema import QatRecord
from edgenext.system.progress import Progress, quiet
from edgenext.targets.scheme import CALIBRATED

BATCH = 32
"""Images a step."""
WARMUP = 0.05
"""Share of the steps in which the learning rate rises."""
WEIGHT_RATE = 0.03
"""The learning rate of weights as a share of that of ranges and biases."""
TRAINING = "training"
"""What progress calls it."""


@dataclass(frozen=True)
class QatTraining:
    """What a quantized graph is trained on, and how."""

    options: QatOptions
    images: ImageSet
    seed: int = 0

    def record(self) -> QatRecord:
        """The record for a manifest."""
        return QatRecord(
            epochs=self.options.epochs,
            lr=self.options.lr,
            batch=BATCH,
            seed=self.seed,
            images=self.images.calibration(),
        )


def require_trainable(options: QatOptions, scheme: str, engine: str, *, converted: bool) -> None:
    """Refuse what has no Q/DQ of ours to train, and values that make no sense.

    Args:
        options: of the training.
        scheme: of the file.
        engine: the quantizer.
        converted: whether a format's converter quantizes the float graph itself.

    Raises:
        UsageError: as above.
    """
    if options.epochs < 1:
        raise UsageError(f"--qat {options.epochs} trains nothing", "Give at least 1 epoch")
    if not (math.isfinite(options.lr) and 0 < options.lr <= 1):
        raise UsageError(f"--qat-lr {options.lr:g} is not in 0 to 1", "Leave it out, or give 0.01")
    if engine != ENGINE:
        raise UsageError(
            f"--qat trains edgenext's own quantized graph, not that of {engine}",
            "Leave --engine out",
        )
    if scheme not in CALIBRATED:
        raise UsageError(
            f"{scheme} cannot be trained with --qat: it has no quantized activations with fixed "
            "ranges",
            f"Use {' or '.join(CALIBRATED)}",
        )
    if converted:
        raise UsageError(
            f"--qat trains a graph with Q/DQ, but here the converter makes {scheme} itself",
            "Use another --format or --target",
        )


def train_quantized(
    quantized: QuantizedGraph,
    graph: Graph,
    training: QatTraining,
    recipe: Recipe,
    progress: Progress = quiet,
) -> QuantizedGraph:
    """A statically quantized graph with trained weights and ranges.

    The same seed, images and machine give the same result.

    Args:
        quantized: made by `quantize_static` of the float graph.
        graph: the float graph, which is the teacher.
        training: images and options.
        recipe: that the graph was quantized by.
        progress: told of every step.

    Raises:
        EdgenextError: the loss is not finite; the message names epoch and step.
    """
    trainable = TrainableGraph(quantized.model, recipe)
    teacher = torch_graph(graph.model)
    _train(trainable, teacher, graph, training, progress)
    ranges = trainable.ranges()
    clipped = {
        name: clipping(old.site, quantized.stats[name], ranges[name])
        for name, old in quantized.clipped.items()
        if name in ranges
    }
    return replace(quantized, model=trainable.written(), clipped=quantized.clipped | clipped)


def _train(
    trainable: TrainableGraph,
    teacher: torch.nn.Module,
    graph: Graph,
    training: QatTraining,
    progress: Progress,
) -> None:
    options, network = training.options, trainable.network
    weights = [m for m in network.modules() if isinstance(m, WeightQuantizer)]
    optimizer = torch.optim.Adam(_groups(network))
    rng = np.random.default_rng(training.seed)
    per_epoch = max(1, math.ceil(len(training.images) / BATCH))
    total = options.epochs * per_epoch
    task = f"{TRAINING}, {options.epochs} epoch{'s' if options.epochs > 1 else ''}"
    progress(task, 0, total)
    for step in range(total):
        if step % per_epoch == 0:
            batches = _batches(training.images, rng)
        for group in optimizer.param_groups:
            group["lr"] = options.lr * group["share"] * _rate((step + 0.5) / total)
        x = torch.from_numpy(np.ascontiguousarray(graph.prepare(next(batches))))
        x = x.contiguous(memory_format=torch.channels_last)  # a third faster on CPUs
        with torch.no_grad():
            expected = teacher(x)
        loss = distillation_loss(network(x), expected)
        if not math.isfinite(loss.item()):
            raise EdgenextError(
                f"the loss became {loss.item()} in epoch {step // per_epoch + 1}, step "
                f"{step % per_epoch + 1} of {per_epoch}, at learning rate {options.lr:g}",
                "Give a lower --qat-lr",
            )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        for module in weights:
            module.clip()
        progress(task, step + 1, total)


def _groups(network: torch.nn.Module) -> list[dict[str, Any]]:
    """The parameters with their shares of the learning rate."""
    weights = [m for m in network.modules() if isinstance(m, WeightQuantizer)]
    slow = {id(p) for m in weights for p in m.parameters()}
    trained = [p for p in network.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if id(p) not in slow], "share": 1.0},
        {"params": [p for p in trained if id(p) in slow], "share": WEIGHT_RATE},
    ]


def distillation_loss(logits: Tensor, expected: Tensor) -> Tensor:
    """How far logits N×K are from a teacher's: KL divergence and relative squared error, summed."""
    divergence = F.kl_div(
        logits.log_softmax(-1), expected.log_softmax(-1), reduction="batchmean", log_target=True
    )
    target = expected - expected.mean(-1, keepdim=True)
    error = logits - logits.mean(-1, keepdim=True) - target
    return divergence + error.square().mean() / target.square().mean().clamp_min(1e-12)


def _rate(done: float) -> float:
    """The learning rate after a share of the steps: up in a line, then down in half a cosine."""
    if done < WARMUP:
        return done / WARMUP
    return 0.5 * (1 + math.cos(math.pi * (done - WARMUP) / (1 - WARMUP)))


def _batches(images: ImageSet, rng: np.random.Generator) -> Iterator[NDArray[np.uint8]]:
    """All images once, in a random order, half of them mirrored."""
    order = rng.permutation(len(images))
    for start in range(0, len(order), BATCH):
        batch = np.array(images.images[order[start : start + BATCH]])
        mirrored = rng.random(len(batch)) < 0.5
        batch[mirrored] = batch[mirrored, :, ::-1]
        yield batch
