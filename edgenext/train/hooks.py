"""What a training lets others decide, without a copy of its loop."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgenext.data import ImageSet, PhotoSet
from edgenext.models.network import EdgeNeXt
from edgenext.train.accelerator import TrainSettings
from edgenext.train.batches import DecodedBatches, TrainingBatches
from edgenext.train.optimizer import make_optimizer
from edgenext.train.recipe import EpochReport, TrainRecipe
from edgenext.train.state import StepReport, TrainingState

TrainingImages = ImageSet | PhotoSet
"""What a network trains on: decoded beforehand, or on the fly."""


def cross_entropy(logits: Tensor, target: Tensor, recipe: TrainRecipe) -> Tensor:
    """The mean cross-entropy; mixed targets, N×K, are smoothed already."""
    smoothing = recipe.label_smoothing if target.ndim == 1 else 0.0
    return F.cross_entropy(logits, target, label_smoothing=smoothing)


class Hooks:
    """The steps of a training that a subclass may replace; each does what the recipe says.

    Give an object to `train_network`, `api.train` or, as `file.py:Class`, to `edgenext train
    --hooks`.
    """

    identity: str = ""
    """What else decides the weights, such as a teacher's sha256: a resumed training has the same.
    """

    def data(
        self, images: TrainingImages, recipe: TrainRecipe, settings: TrainSettings
    ) -> TrainingBatches:
        """Where batches come from.

        Args:
            images: to train on.
            recipe: how they are augmented.
            settings: how many processes decode them.
        """
        if isinstance(images, ImageSet):
            return DecodedBatches(images, recipe)
        from edgenext.train.photos import PhotoBatches, decoding_processes

        return PhotoBatches(images, recipe, decoding_processes(settings.workers))

    def optimizer(self, network: EdgeNeXt, recipe: TrainRecipe) -> torch.optim.Optimizer:
        """The optimizer; the loop sets its learning rate, times each group's `lr_scale`."""
        return make_optimizer(network, recipe)

    def prepare(self, network: EdgeNeXt, device: torch.device) -> None:
        """Called once before the first step: load what the loss needs, or freeze parts."""

    def loss(self, model: nn.Module, x: Tensor, target: Tensor, recipe: TrainRecipe) -> Tensor:
        """The loss of a batch, a scalar.

        Args:
            model: the network, perhaps compiled or in parallel: N×3×H×W to N×K logits.
            x: N×3×H×W in the network's range.
            target: N labels, or N×K probabilities where images are mixed.
            recipe: the label smoothing, where labels are not mixed.
        """
        return cross_entropy(model(x), target, recipe)

    def step(self, state: TrainingState, report: StepReport) -> None:
        """Called after each step of the optimizer, in every process."""

    def epoch_end(self, state: TrainingState, report: EpochReport, folder: Path) -> None:
        """Called after each epoch is saved, in the process that writes."""
