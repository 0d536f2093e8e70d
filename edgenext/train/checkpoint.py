"""The state of a training run on disk, from which it resumes bit for bit."""

from __future__ import annotations

import io
from dataclasses import asdict
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
from edgenext.train.recipe import EpochReport, TrainRecipe
from edgenext.train.state import TrainingState

FILE = "checkpoint.pth"
_EPOCH = TypeAdapter(EpochReport)


class Position(Record):
    """Where a training is: steps of the optimizer in all, and what of this epoch is done.

    `loss` is the sum over the `seen` images of its `batches`; seconds are those of the run, and of
    this epoch's training.
    """

    steps: int
    batches: int
    loss: float
    seen: int
    seconds: float
    training_seconds: float


def save_checkpoint(run: TrainingState, path: Path) -> bytes:
    """Write the state of a run, readable with ``torch.load(path, weights_only=True)``.

    Random numbers need no state: they are seeded by the recipe's seed and the position.

    Returns:
        What was written.

    Raises:
        OutputError: it cannot be written; an earlier checkpoint stays.
    """
    state: dict[str, Any] = {
        "model": run.network.state_dict(),
        "model_ema": run.ema.network.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "scaler": run.scaler.state_dict(),
        "epoch": run.epoch,
        "position": {name: getattr(run, name) for name in Position.model_fields},
        "recipe": run.recipe.model_dump(),
        "arch": run.arch,
        "data": run.data,
        "val": run.val,
        "start": run.start,
        "world": run.world,
        "history": [asdict(e) for e in run.history],
    }
    buffer = io.BytesIO()  # torch.save does not report a full disk as an OSError
    torch.save(state, buffer)
    content = buffer.getvalue()
    write_bytes(path, content)
    return content


def restore_checkpoint(run: TrainingState, path: Path) -> None:
    """Restore the state of a run from a checkpoint.

    Raises:
        CheckpointError: not a checkpoint of this kind of run, or damaged.
        UsageError: the checkpoint's run has another recipe, other images or other processes.
    """
    state = read_weights_file(path)
    try:
        _require_same_run(run, state, path)
        run.network.load_state_dict(state["model"])
        run.ema.network.load_state_dict(state["model_ema"])
        options = _options(run.optimizer)
        run.optimizer.load_state_dict(state["optimizer"])
        if _options(run.optimizer) != options:
            raise ValueError("the optimizer's options are not the recipe's")
        _require_optimizer_fits(run.optimizer)
        run.scaler.load_state_dict(state["scaler"])
        run.history = [_EPOCH.validate_python(e) for e in state["history"]]
        if state["epoch"] != run.epoch:
            raise ValueError(f"it has {run.epoch} reports of {state['epoch']} epochs")
        for name, value in Position.model_validate(state["position"]):
            setattr(run, name, value)
    except UsageError:
        raise
    except Exception as e:  # torch raises anything for states that are not of its own making
        raise CheckpointError(
            f"training cannot resume from {path}: {reason(e)[:200]}",
            "Train without --resume to start anew",
        ) from e


def _options(optimizer: torch.optim.Optimizer) -> list[dict[str, Any]]:
    """The options of each group but the learning rate, which each step sets."""
    skipped = ("params", "lr")  # of which each step sets the second
    return [{k: v for k, v in g.items() if k not in skipped} for g in optimizer.param_groups]


def _require_optimizer_fits(optimizer: torch.optim.Optimizer) -> None:
    """Refuse a state that is not AdamW's for its parameters: torch fails at the next step only.

    Raises:
        ValueError: as above.
    """
    if not isinstance(optimizer, torch.optim.AdamW):
        return
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
    same = ("arch", "data", "val", "start")
    changed += [f"{k} differs" for k in same if state[k] != getattr(run, k)]
    if state["world"] != run.world:
        changed.append(f"processes {state['world']} → {run.world}")
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
    epoch: int
    """Which epoch the weights are of."""
    chosen: bool = False
    """Whether the epoch was chosen by the accuracy on the validation images, which then flatters
    the weights."""
    seconds: float
    recipe: TrainRecipe
    start: str = ""
    """sha256 of the weights that the training started from, and of the teacher, if any."""
