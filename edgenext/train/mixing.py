"""Mixup and CutMix: images of a batch mixed with each other, and their labels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from edgenext.train.photos import seeded
from edgenext.train.recipe import TrainRecipe
from edgenext.train.timm_parts import timm_module

Mix = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]
"""N×3×H×W images, N labels and a seed to images and N×K probabilities."""


def mixing(recipe: TrainRecipe, classes: int) -> Mix | None:
    """Mixes the images of a batch with each other, and their labels; None if the recipe does not.

    The last image of an odd batch stays as it is: timm mixes pairs.
    """
    if not recipe.mixes:
        return None
    mixup = timm_module("timm.data").Mixup(
        recipe.mixup,
        recipe.cutmix,
        prob=recipe.mixing,
        label_smoothing=recipe.label_smoothing,
        num_classes=classes,
    )

    def mixed(x: Tensor, y: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        even = len(x) // 2 * 2
        with seeded(seed):
            pairs, targets = mixup(x[:even].clone(), y[:even]) if even else (x[:0], y[:0])
        if even == len(x):
            return pairs, targets
        smooth = recipe.label_smoothing
        alone = F.one_hot(y[even:], classes) * (1 - smooth) + smooth / classes
        return torch.cat((pairs, x[even:])), torch.cat((targets.reshape(-1, classes), alone))

    return mixed
