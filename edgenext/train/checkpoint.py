"""The state of a training run on disk, from which it resumes bit for bit."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from edgenext.errors import CheckpointError, UsageError
from edgenext.models.unpickle import read_weights_file
from edgenext.schema import Division, Record
from edgenext.system.files import write_bytes
from edgenext.system.reading import reason
from edgenext.train.ema import Ema
from edgenext.train.recipe import EpochReport, TrainRecipe

FILE = "checkpoint.pth"
_EPOCH = TypeAdapter(EpochReport)


@dataclass
class TrainingState:
    """Everything that changes during training, and what must be the same when it resumes."""

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
        """Completed epochs."""
        return len(self.history)


def save_checkpoint(run: TrainingState, path: Path) -> None:
    """Write the state of a run, readable with ``torch.load(path, weights_only=True)``.

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
    buffer = io.BytesIO()  # torch.save does not report a full disk as an OSError
    torch.save(state, buffer)
    write_bytes(path, buffer.getvalue())


def restore_checkpoint(run: TrainingState, path: Path) -> None:
    """Restore the state of a run, and of torch's generator, from a checkpoint.

    Raises:
        CheckpointError: not a checkpoint of this kind of run, or damaged.
        UsageError: the checkpoint's run has another recipe or other images.
    """
    state = read_weights_file(path)
    try:
        _require_same_run(run, state, path)
        rng = state["rng"]
        if not isinstance(rng, Tensor):
            raise TypeError("rng")
        run.network.load_state_dict(state["model"])
        run.ema.network.load_state_dict(state["model_ema"])
        options = _options(run.optimizer)
        run.optimizer.load_state_dict(state["optimizer"])
        if _options(run.optimizer) != options:
            raise ValueError("the optimizer's options are not the recipe's")
        _require_optimizer_fits(run.optimizer)
        run.history = [_EPOCH.validate_python(e) for e in state["history"]]
        if state["epoch"] != run.epoch:
            raise ValueError(f"it has {run.epoch} reports of {state['epoch']} epochs")
        torch.set_rng_state(rng)
    except UsageError:
        raise
    except Exception as e:  # torch raises anything for states that are not of its own making
        raise CheckpointError(
            f"training cannot resume from {path}: {reason(e)[:200]}",
            "Train without --resume to start anew",
        ) from e


def _options(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """The options of each group but the learning rate, which each step sets."""
    skipped = ("params", "lr")
    return [{k: v for k, v in g.items() if k not in skipped} for g in optimizer.param_groups]


def _require_optimizer_fits(optimizer: torch.optim.Optimizer) -> None:
    """Refuse a state that is not AdamW's for its parameters: torch fails at the next step only.

    Raises:
        ValueError: as above.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = optimizer.state.get(parameter)
            if not state:
                continue
            shapes = {"step": (), "exp_avg": parameter.shape, "exp_avg_sq": parameter.shape}
            for name in shapes.keys() | state.keys():
                value = state.get(name)
                if not isinstance(value, Tensor) or value.shape != shapes.get(name):
                    raise ValueError(f"the optimizer's {name} does not fit its parameter")


def _require_same_run(run: TrainingState, state: dict[str, Any], path: Path) -> None:
    saved: dict[str, Any] = state["recipe"]
    recipe = run.recipe.model_dump()
    changed = [f"{k} {saved.get(k)} → {v}" for k, v in recipe.items() if saved.get(k) != v]
    changed += [f"{k} differs" for k in ("arch", "data", "val") if state[k] != getattr(run, k)]
    if changed:
        raise UsageError(
            f"{path} belongs to another run: {', '.join(changed)}",
            "Train without --resume, or into another folder",
        )


class TrainedSidecar(Record):
    """`<name>.json` beside trained weights: how to use them and where they come from."""

    arch: str
    num_classes: int
    eval: dict[str, Any]
    labels: tuple[str, ...]
    class_names: tuple[str, ...] | None = None
    division: Division | None = None
    trained_on: dict[str, Any]
    top1: float | None = None
    evaluated_on: dict[str, Any] | None = None
    epochs: int
    seconds: float
    recipe: TrainRecipe
