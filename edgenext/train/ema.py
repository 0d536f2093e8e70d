"""Averaged weights: an exponential moving average of a network while it trains."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Ema:
    """A second network that follows the first: w ← d·w + (1 − d)·w'.

    d rises to `decay` as (1 + t) / (10 + t) over the steps t, so that the first, random weights
    soon lose their influence. Counters are copied.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Update the average after step number `step` of `network`, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        target = network.state_dict()
        for name, average in self.network.state_dict().items():
            if average.is_floating_point():
                average.lerp_(target[name], 1 - decay)
            else:
                average.copy_(target[name])
