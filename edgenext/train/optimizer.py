"""AdamW, its learning-rate schedule, and the network's initial state."""

from __future__ import annotations

import math

import torch
from torch import nn

from edgenext.models.network import DropPath, EdgeNeXt
from edgenext.train.recipe import TrainRecipe


def make_optimizer(network: nn.Module, recipe: TrainRecipe) -> torch.optim.AdamW:
    """AdamW with weight decay on the weights of convolutions and linear layers only."""
    decayed: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        is_matrix = parameter.ndim > 1 and not name.endswith("temperature")
        (decayed if is_matrix else undecayed).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": undecayed, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr, fused=True)


def learning_rate(recipe: TrainRecipe, epoch: float) -> float:
    """Linear from 0 to the peak, then half a cosine to 0; `epoch` may be a fraction."""
    if epoch < recipe.warmup_epochs:
        return recipe.lr * epoch / recipe.warmup_epochs
    rest = max(recipe.epochs - recipe.warmup_epochs, 1e-9)
    progress = min((epoch - recipe.warmup_epochs) / rest, 1.0)
    return recipe.lr * (1 + math.cos(math.pi * progress)) / 2


def initialise(network: EdgeNeXt) -> None:
    """Draw every weight anew from torch's generator."""
    fresh = EdgeNeXt(network.arch, network.num_classes)
    network.load_state_dict(fresh.state_dict())


def set_drop_path(network: EdgeNeXt, rate: float) -> None:
    """Stochastic depth that rises linearly from 0 to `rate` at the last block."""
    drops = [m for m in network.modules() if isinstance(m, DropPath)]
    for drop, r in zip(drops, torch.linspace(0, rate, len(drops)).tolist(), strict=True):
        drop.rate = r
