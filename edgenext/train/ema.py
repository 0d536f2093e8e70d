"""Averaged weights: an exponential moving average of a network while it trains."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Ema:
    """A second network that follows the first: w ← d·w + (1 − d)·w'. Counters are copied.

    Args:
        network: what the average starts from.
        decay: d.
        ramp: let d rise to `decay` as (1 + t) / (10 + t) over the steps t, so that the first,
            random weights soon lose their influence.
    """

    def __init__(self, network: nn.Module, decay: float, *, ramp: bool = True) -> None:
        self.decay, self.ramp = decay, ramp
        self.network = copy.deepcopy(network).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Update the average after step number `step` of `network`, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step)) if self.ramp else self.decay
        target = network.state_dict()
        averages, values = [], []
        for name, average in self.network.state_dict().items():
            if average.is_floating_point():
                averages.append(average)
                values.append(target[name])
            else:
                average.copy_(target[name])
        torch._foreach_lerp_(averages, values, 1 - decay)
