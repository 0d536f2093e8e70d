"""What changes while a network trains."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from edgenext.models.network import EdgeNeXt
from edgenext.train.ema import Ema
from edgenext.train.recipe import EpochReport, TrainRecipe


@dataclass(frozen=True)
class StepReport:
    """A step: its number from 1, the epochs done as a fraction, mean loss, learning rate."""

    step: int
    epochs: float
    loss: float
    lr: float


@dataclass
class TrainingState:
    """Everything that changes during training, and what must be the same when it resumes.

    `steps` of the optimizer and `batches` of this epoch are done; `loss` is the sum over the
    images that it has seen, `seen` how many.
    """

    network: EdgeNeXt
    ema: Ema
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    recipe: TrainRecipe
    arch: str
    data: str
    """sha256 of the training subset."""
    val: str | None
    start: str = ""
    """What the weights started from, and the teacher: sha256s, empty for none."""
    world: int = 1
    history: list[EpochReport] = field(default_factory=list)
    steps: int = 0
    batches: int = 0
    loss: float = 0.0
    seen: int = 0
    seconds: float = 0.0
    training_seconds: float = 0.0
    """Of this epoch, without its evaluation."""

    @property
    def epoch(self) -> int:
        """Completed epochs."""
        return len(self.history)
