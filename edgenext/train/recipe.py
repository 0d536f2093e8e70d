"""What decides a training run, and what comes out of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from pydantic import model_validator

from edgenext.errors import UsageError
from edgenext.schema import Record


class TrainRecipe(Record):
    """AdamW with a cosine schedule and averaged weights. The defaults are for small data sets.

    Raises:
        UsageError: a value that cannot be.
    """

    epochs: int = 20
    batch_size: int = 64
    lr: float = 2e-3
    """The peak, reached after `warmup_epochs` and followed by a cosine to 0."""
    warmup_epochs: float = 2.0
    weight_decay: float = 0.05
    """Not for norms, biases, layer scales and temperatures."""
    clip_norm: float = 1.0
    ema_decay: float = 0.99
    """Of the averaged weights, per step; reached slowly, so that the start is forgotten."""
    label_smoothing: float = 0.1
    drop_path: float = 0.0
    shift: float = 0.1
    """Images are moved by up to this part of their side, both ways."""
    scale: float = 0.1
    """Images are enlarged or shrunk by up to this part."""
    flip: bool = False
    """Mirror half of the images: right for photographs, wrong for digits."""
    from_scratch: bool = True
    """Draw all weights anew from `seed`. False keeps the network's: fine-tuning."""
    seed: int = 0

    @model_validator(mode="after")
    def _possible(self) -> TrainRecipe:
        bounds: dict[str, tuple[float, float]] = {
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
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not (low <= value <= high and math.isfinite(value)):
                raise UsageError(f"{name} cannot be {value}", f"It is between {low:g} and {high:g}")
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
    """Where the trained weights lie and how good they are.

    `top1` is that of the averaged weights on the validation images in percent; `seconds` is
    training time, that of interrupted runs included.
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
