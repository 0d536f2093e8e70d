"""The state of a training run on disk: enough to go on bit for bit."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgenext.errors import CheckpointError, UsageError
from edgenext.models.unpickle import read_weights_file
from edgenext.schema import Record
from edgenext.system.files import write_bytes
from edgenext.train.ema import Ema
from edgenext.train.recipe import EpochReport, TrainRecipe

FILE = "checkpoint.pth"


@dataclass
class Run:
    """Everything that changes while training, and what must not change when it goes on."""

    network: torch.nn.Module
    ema: Ema
    optimizer: torch.optim.Optimizer
    recipe: TrainRecipe
    arch: str
    data: str
    """sha256 of the training subset."""
    val: str | None
    history: list[EpochReport] = field(default_factory=list)

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history)


def save(run: Run, path: Path) -> None:
    """Write the run; readable with ``torch.load(path, weights_only=True)``.

    Raises:
        OutputError: it cannot be written; an earlier checkpoint stays.
    """
    state: dict[str, Any] = {
        "model": run.network.state_dict(),
        "model_ema": run.ema.network.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "epoch": run.epoch,
        "recipe": run.recipe.model_dump(),
        "rng": torch.get_rng_state(),
        "arch": run.arch,
        "data": run.data,
        "val": run.val,
        "history": [asdict(e) for e in run.history],
    }
    buffer = io.BytesIO()  # torch.save reports a full disk as anything but an OSError
    torch.save(state, buffer)
    write_bytes(path, buffer.getvalue())


def restore(run: Run, path: Path) -> None:
    """Bring a fresh run, torch's generator included, to where the checkpoint was written.

    Raises:
        CheckpointError: not a checkpoint of this kind of run, or damaged.
        UsageError: the run was begun with another recipe or on other images.
    """
    state = read_weights_file(path)
    try:
        _check_same(run, state, path)
        rng = state["rng"]
        if not isinstance(rng, Tensor):
            raise TypeError("rng")
        run.network.load_state_dict(state["model"])
        run.ema.network.load_state_dict(state["model_ema"])
        run.optimizer.load_state_dict(state["optimizer"])
        run.history = [EpochReport(**e) for e in state["history"]]
        torch.set_rng_state(rng)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as e:
        raise CheckpointError(
            f"{path} is not a checkpoint that training can go on from: {str(e).splitlines()[0]}",
            "Train without resuming to begin anew",
        ) from e


def _check_same(run: Run, state: dict[str, Any], path: Path) -> None:
    theirs: dict[str, Any] = state["recipe"]
    ours = run.recipe.model_dump()
    changed = [f"{k} {theirs.get(k)} → {v}" for k, v in ours.items() if theirs.get(k) != v]
    changed += [f"{k} differs" for k in ("arch", "data", "val") if state[k] != getattr(run, k)]
    if changed:
        raise UsageError(
            f"{path} belongs to another run: {', '.join(changed)}",
            "Train without resuming, or into another folder",
        )


class TrainedSidecar(Record):
    """`<name>.json` beside trained weights: how to use them and where they come from."""

    arch: str
    num_classes: int
    eval: dict[str, Any]
    labels: tuple[str, ...]
    trained_on: dict[str, Any]
    top1: float | None = None
    evaluated_on: dict[str, Any] | None = None
    epochs: int
    seconds: float
    recipe: TrainRecipe
