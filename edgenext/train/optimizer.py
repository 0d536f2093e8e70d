"""The optimizer, its parameter groups and learning rate, and the network's initial state."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from edgenext.errors import UsageError
from edgenext.models.network import DropPath, EdgeNeXt
from edgenext.train.recipe import TrainRecipe
from edgenext.train.timm_parts import timm_module

STAGES = ("stem", "stage1", "stage2", "stage3", "stage4")
"""The parts of a network that can be frozen, from the input to the head."""


def make_optimizer(network: nn.Module, recipe: TrainRecipe) -> torch.optim.Optimizer:
    """The recipe's optimizer for the parameters of a network that are trained.

    Raises:
        UsageError: timm knows no such optimizer.
        MissingDependencyError: it is one of timm's, which is not installed.
    """
    groups = parameter_groups(network, recipe)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.lr, fused=True)
    timm_optim = timm_module("timm.optim")
    try:
        optimizer: torch.optim.Optimizer = timm_optim.create_optimizer_v2(
            groups, opt=recipe.optimizer, lr=recipe.lr
        )
    except (ValueError, AssertionError, KeyError) as e:
        raise UsageError(
            f"unknown optimizer {recipe.optimizer!r}", "Use adamw or one that timm has, such as sgd"
        ) from e
    return optimizer


def parameter_groups(network: nn.Module, recipe: TrainRecipe) -> list[dict[str, Any]]:
    """Groups of equal weight decay and learning rate; frozen parameters are in none.

    Each has `lr_scale`, the factor of its learning rate: 1 without layer-wise decay.
    """
    groups: dict[tuple[bool, float], dict[str, Any]] = {}
    for name, parameter in network.named_parameters():
        if not parameter.requires_grad:
            continue
        decayed = parameter.ndim > 1
        if name.endswith("temperature"):
            decayed = recipe.decay_temperatures
        scale = recipe.layer_decay ** (len(STAGES) - _depth(name))
        group = groups.setdefault(
            (decayed, scale),
            {
                "params": [],
                "weight_decay": recipe.weight_decay if decayed else 0.0,
                "lr_scale": scale,
            },
        )
        group["params"].append(parameter)
    if not groups:
        raise UsageError("every part of the network is frozen: nothing is left to train")
    return [groups[key] for key in sorted(groups, reverse=True)]


def _depth(name: str) -> int:
    """How far from the input a parameter is: 0 in the stem, 5 in the head."""
    part, _, rest = name.removeprefix("module.").partition(".")
    if part == "stages":
        return 1 + int(rest.partition(".")[0])
    if part == "downsample_layers":  # the first is the stem; another belongs to its stage
        return int(rest[0]) and 1 + int(rest[0])
    return len(STAGES)


def freeze(network: EdgeNeXt, recipe: TrainRecipe) -> None:
    """Stop the training of the recipe's frozen parts; other parts are trained."""
    for name, parameter in network.named_parameters():
        depth = _depth(name)
        parameter.requires_grad_(depth == len(STAGES) or STAGES[depth] not in recipe.freeze)


def set_training(network: EdgeNeXt, recipe: TrainRecipe) -> None:
    """Training mode, in which frozen batch norms keep their statistics."""
    network.train()
    for i, stage in enumerate(STAGES):
        if stage in recipe.freeze:
            if i != 1:  # stage 1 has the stem in front of it
                network.downsample_layers[max(i - 1, 0)].eval()
            if i:
                network.stages[i - 1].eval()


def learning_rate(recipe: TrainRecipe, epoch: float) -> float:
    """Linear to the peak, then half a cosine to the end.

    `epoch` may be a fraction: the images seen, divided by those of an epoch. The published schedule
    counts steps instead, of which its multi-scale sampler runs only a part.
    """
    if epoch < recipe.warmup_epochs:
        return recipe.lr_start + (recipe.lr - recipe.lr_start) * epoch / recipe.warmup_epochs
    rest = max(recipe.epochs - recipe.warmup_epochs, 1e-9)
    progress = min((epoch - recipe.warmup_epochs) / rest, 1.0)
    return recipe.lr_min + (recipe.lr - recipe.lr_min) * (1 + math.cos(math.pi * progress)) / 2


def initialise(network: EdgeNeXt) -> None:
    """Draw every weight anew from torch's generator."""
    fresh = EdgeNeXt(network.arch, network.num_classes)
    network.load_state_dict(fresh.state_dict())


def set_drop_path(network: EdgeNeXt, rate: float) -> None:
    """Stochastic depth that rises linearly from 0 to `rate` at the last block."""
    drops = [m for m in network.modules() if isinstance(m, DropPath)]
    for drop, r in zip(drops, torch.linspace(0, rate, len(drops)).tolist(), strict=True):
        drop.rate = r
