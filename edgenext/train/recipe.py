"""A training run's recipe, and its results."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from pydantic import model_validator

from edgenext.errors import UsageError
from edgenext.schema import Record

BOUNDS: dict[str, tuple[float, float]] = {
    "epochs": (1, math.inf),
    "batch_size": (1, math.inf),
    "lr": (0, math.inf),
    "warmup_epochs": (0, math.inf),
    "weight_decay": (0, math.inf),
    "clip_norm": (1e-6, math.inf),
    "ema_decay": (0, 1),
    "label_smoothing": (0, 1),
    "drop_path": (0, 0.999),
    "shift": (0, 1),
    "scale": (0, 0.999),
    "seed": (0, 2**63 - 1),
}
"""The least and the greatest value of each number of a `TrainRecipe`."""


class TrainRecipe(Record):
    """AdamW with a cosine schedule and averaged weights. The defaults are for small data sets.

    Raises:
        UsageError: a value out of range.
    """

    epochs: int = 20
    batch_size: int = 64
    lr: float = 2e-3
    """The peak, reached after `warmup_epochs` and followed by a cosine to 0."""
    warmup_epochs: float = 2.0
    """Epochs in which the learning rate rises from 0 to `lr`."""
    weight_decay: float = 0.05
    """Not for norms, biases, layer scales and temperatures."""
    clip_norm: float = 1.0
    """Gradients are scaled down to this norm where theirs is larger."""
    ema_decay: float = 0.99
    """Of the averaged weights, per step; reached slowly, so that the start is forgotten."""
    label_smoothing: float = 0.1
    """The share of a label that is spread over all classes."""
    drop_path: float = 0.0
    shift: float = 0.1
    """Images are shifted by up to this fraction of their side, in both directions."""
    scale: float = 0.1
    """Images are enlarged or shrunk by up to this fraction."""
    flip: bool = False
    """Mirror half of the images: suitable for photographs, not for digits."""
    from_scratch: bool = True
    """Draw all weights anew from `seed`. False keeps the network's weights: fine-tuning."""
    seed: int = 0

    @model_validator(mode="after")
    def _require_valid(self) -> TrainRecipe:
        for name, (low, high) in BOUNDS.items():
            value = getattr(self, name)
            if not (low <= value <= high and math.isfinite(value)):
                raise UsageError(
                    f"{name} is {value}, which is out of range",
                    f"Use {low:g} to {high:g}" if math.isfinite(high) else f"Use at least {low:g}",
                )
        return self


@dataclass(frozen=True)
class EpochReport:
    """One epoch: mean loss, top-1 of the averaged weights in percent, seconds since the start."""

    epoch: int
    epochs: int
    loss: float
    lr: float
    seconds: float
    top1: float | None


@dataclass(frozen=True)
class TrainResult:
    """The files of a training run, and the accuracy of its weights.

    `top1` is that of the averaged weights on the validation images in percent; `seconds` is
    training time, including that of interrupted runs.
    """

    name: str
    weights: Path
    sidecar: Path
    checkpoint: Path
    epochs: int
    seconds: float
    loss: float
    top1: float | None
    history: tuple[EpochReport, ...]
