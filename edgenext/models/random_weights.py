"""Random weights for measurements of speed, and fresh heads."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from edgenext.models.state import COUNTER, HEAD, arch_shapes

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

HEAD_STD = 0.02
"""Standard deviation of a fresh head's weights: the published initialisation of all layers."""


def random_state(arch: str, num_classes: int, seed: int) -> dict[str, Tensor]:
    """A seeded state dict of an architecture, float32.

    A freshly initialised network is nearly the identity: layer scales of 1e-6, norms of one and
    zero. Here every tensor affects the logits: layer scales of 0.05 to 0.3, non-trivial norms and
    biases, weights of unit gain. No branch of the network can be folded away, underflow or
    quantize to zero, and the speed is that of trained weights.
    """
    import numpy as np
    import torch

    rng = np.random.Generator(np.random.PCG64(seed))
    return {
        name: torch.tensor(0)
        if name.endswith(COUNTER)
        else torch.from_numpy(_draw(rng, name, shape).astype(np.float32))
        for name, shape in arch_shapes(arch, num_classes).items()
    }


def _draw(
    rng: np.random.Generator, name: str, shape: tuple[int, ...]
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    leaf = name.rsplit(".", 1)[-1]
    if leaf in ("gamma", "gamma_xca"):
        return rng.uniform(0.05, 0.3, shape)
    if leaf == "temperature":
        return rng.uniform(0.7, 2.0, shape)
    if leaf in ("bias", "running_mean"):
        return rng.normal(0, 0.1, shape)
    if len(shape) == 1:  # a norm's weight or running variance
        return rng.uniform(0.5, 1.5, shape)
    fan_in = 1
    for n in shape[1:]:
        fan_in *= n
    return rng.normal(0, fan_in**-0.5, shape)


def fresh_head(arch: str, num_classes: int, seed: int) -> dict[str, Tensor]:
    """A head with the published initialisation: seeded normal weights of 0.02, zero biases."""
    import numpy as np
    import torch

    rng = np.random.Generator(np.random.PCG64(seed))
    weight, bias = (arch_shapes(arch, num_classes)[k] for k in HEAD)
    drawn = rng.normal(0, HEAD_STD, weight).astype(np.float32)
    return dict(zip(HEAD, (torch.from_numpy(drawn), torch.zeros(bias)), strict=True))


def state_sha256(state: dict[str, Tensor]) -> str:
    """Hex sha256 of a state dict: names, types, shapes and little-endian bytes, sorted by name."""
    digest = hashlib.sha256()
    for name in sorted(state):
        array = state[name].numpy()
        digest.update(f"{name} {array.dtype.name} {array.shape}\n".encode())
        digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()
