"""What a training leaves beside its weights: a log, curves, checkpoints of earlier epochs."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import nn

from edgenext.errors import MissingDependencyError
from edgenext.system.files import write_bytes, write_text
from edgenext.train.accelerator import TrainSettings
from edgenext.train.recipe import EpochReport
from edgenext.train.state import TrainingState

LOG, CURVES = "log.jsonl", "curves.png"
BEST, BEST_EMA = "best.safetensors", "best-ema.safetensors"
PLOT_EVERY_S = 60
"""Curves are drawn at the end, and before it no more often."""


class TrainingLog:
    """The files of a training's folder that grow with its epochs."""

    def __init__(self, folder: Path, settings: TrainSettings) -> None:
        self._folder, self._settings = folder, settings
        self._board = _board(folder) if settings.tensorboard else None
        self._plotted = time.monotonic()

    def write(self, state: TrainingState, checkpoint: bytes) -> None:
        """Write what the last epoch of the history changes.

        Raises:
            OutputError: a file cannot be written.
        """
        report, history = state.history[-1], state.history
        lines = [json.dumps({k: v for k, v in asdict(e).items() if v is not None}) for e in history]
        write_text(self._folder / LOG, "\n".join(lines) + "\n")
        if is_best([e.raw_top1 for e in history]):
            save_weights(state.network, self._folder / BEST)
        if is_best([e.top1 for e in history]):
            save_weights(state.ema.network, self._folder / BEST_EMA)
        self._keep(report.epoch, checkpoint)
        if self._board:
            for name, value in asdict(report).items():
                if value is not None and name not in ("epoch", "epochs", "seconds"):
                    self._board.add_scalar(name, value, report.epoch)
            self._board.flush()
        if time.monotonic() - self._plotted > PLOT_EVERY_S:
            self.plot(history)

    def plot(self, history: Sequence[EpochReport]) -> None:
        """Draw the curves of the loss and of the accuracy."""
        self._plotted = time.monotonic()
        write_bytes(self._folder / CURVES, draw_curves(history))

    def _keep(self, epoch: int, checkpoint: bytes) -> None:
        if not self._settings.keep:
            return
        write_bytes(self._folder / f"checkpoint-{epoch:04d}.pth", checkpoint)
        kept = sorted(self._folder.glob("checkpoint-*.pth"))
        for path in kept[: -self._settings.keep]:
            path.unlink()


def written_files(folder: Path) -> list[Path]:
    """What a training has written into its folder beside the weights at its end."""
    patterns = ("checkpoint*.pth", LOG, CURVES, BEST, BEST_EMA, "tensorboard/*")
    return [path for pattern in patterns for path in sorted(folder.glob(pattern))]


def is_best(values: Sequence[float | None]) -> bool:
    """Whether the last value is there, and greater than all before it."""
    *before, last = values
    return last is not None and all(v is None or v < last for v in before)


def save_weights(network: nn.Module, path: Path) -> None:
    """Write a network's weights as safetensors."""
    state = {k: v.detach().cpu().contiguous() for k, v in network.state_dict().items()}
    write_bytes(path, safetensors.torch.save(state, {"format": "pt"}))


def draw_curves(history: Sequence[EpochReport]) -> bytes:
    """A PNG of loss, accuracy of the averaged and the raw weights, and learning rate by epoch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3), layout="constrained")
    epochs = [e.epoch for e in history]
    panels: list[tuple[str, dict[str, list[Any]]]] = [
        ("loss", {"": [e.loss for e in history]}),
        (
            "top-1 %",
            {
                "averaged weights": [e.top1 for e in history],
                "weights": [e.raw_top1 for e in history],
            },
        ),
        ("learning rate", {"": [e.lr for e in history]}),
    ]
    for axes, (title, curves) in zip(figure.subplots(1, len(panels)), panels, strict=True):
        for label, values in curves.items():
            if any(v is not None for v in values):
                axes.plot(epochs, values, marker="." if len(epochs) < 40 else "", label=label)
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
        if len(curves) > 1 and axes.lines:
            axes.legend()
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()


def _board(folder: Path) -> Any:
    try:
        from tensorboardX import SummaryWriter
    except ImportError as e:
        raise MissingDependencyError(
            "TensorBoard's files need tensorboardX", "pip install 'edgenext[train]'"
        ) from e
    return SummaryWriter(str(folder / "tensorboard"), write_to_disk=True)
