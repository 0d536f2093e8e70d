"""Reference values: weights and inputs derived from names, and the outputs they must give.

Every tensor is drawn from PCG64 seeded with the sha256 of its published name, so that no weights
need to be stored. Layer scales are large and channels uneven, so that a wrong epsilon, transpose
or fold shows in the logits. `logits.npz` and `golden.json` were computed in float64 from them.
"""

from __future__ import annotations

import hashlib
import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgenext.models.state import arch_shapes

HERE = Path(__file__).parent
SIZES = ((256, 256), (224, 224), (320, 320), (160, 288))


def _generator(name: str) -> np.random.Generator:
    seed = hashlib.sha256(name.encode()).digest()[:8]
    return np.random.Generator(np.random.PCG64(int.from_bytes(seed, "little")))


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The array of a published parameter or buffer, float32 (counters int64)."""
    leaf = name.split(".")[-1]
    rng = _generator(name)
    match leaf:
        case "num_batches_tracked":
            return np.array(1000, dtype=np.int64)
        case "running_mean":
            values = rng.normal(0, 0.3, shape)
        case "running_var":
            values = rng.uniform(0.3, 2.0, shape)
        case "gamma" | "gamma_xca":
            values = rng.uniform(0.05, 0.3, shape)
            values = np.where(rng.random(shape) < 0.5, -values, values)
        case "temperature":
            values = rng.uniform(0.6, 2.5, shape)
        case "bias":
            values = rng.normal(0, 0.1, shape)
        case _ if len(shape) == 1:  # a norm's weight
            values = rng.uniform(0.4, 1.6, shape)
        case _:  # unit gain, uneven output channels
            values = rng.normal(0, 1 / math.sqrt(math.prod(shape[1:])), shape)
            uneven = rng.normal(0, 0.3, (shape[0],) + (1,) * (len(shape) - 1))
            values = values * np.exp(uneven)
    return values.astype(np.float32)


@cache
def arrays(arch: str) -> dict[str, np.ndarray]:
    """Published names and arrays of an architecture with 1000 classes. Do not change them."""
    return {name: tensor(name, shape) for name, shape in arch_shapes(arch).items()}


def state(arch: str) -> dict[str, torch.Tensor]:
    """A state dict of an architecture with 1000 classes; a copy for the caller."""
    return {name: torch.from_numpy(array.copy()) for name, array in arrays(arch).items()}


def image(height: int, width: int) -> torch.Tensor:
    """A normalised 1×3×H×W input: colour waves and noise."""
    rng = _generator(f"image {height}x{width}")
    y, x = np.mgrid[0:height, 0:width] / 32.0
    planes = []
    for channel in range(3):
        a, b, c, d = rng.uniform(0.2, 2.0, 4)
        waves = np.sin(a * y + b * x + channel) + np.cos(c * x - d * y)
        planes.append(waves + rng.normal(0, 0.3, (height, width)))
    return torch.from_numpy(np.stack(planes)[None].astype(np.float32))


@cache
def golden() -> dict[str, Any]:
    """Parameters, top-5 and stage statistics by architecture and size."""
    return json.loads((HERE / "golden.json").read_text())


@cache
def _logits() -> dict[str, np.ndarray]:
    with np.load(HERE / "logits.npz") as file:
        return dict(file)


def logits(arch: str, height: int, width: int) -> np.ndarray:
    """The 1000 logits of `image(height, width)`."""
    return _logits()[f"{arch}/{height}x{width}"]
