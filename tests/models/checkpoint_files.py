"""Weights files for tests, and the error that loading one ends in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from edgenext.errors import CheckpointError
from edgenext.models.checkpoint import load_checkpoint

XXS = "edgenext_xx_small"


def saved(state: dict[str, torch.Tensor], folder: Path, stem: str = "weights", **sidecar) -> Path:
    path = folder / f"{stem}.safetensors"
    save_file(state, path)
    if sidecar:
        (folder / f"{stem}.json").write_text(json.dumps(sidecar))
    return path


def with_classes(state: dict[str, torch.Tensor], n: int) -> dict[str, torch.Tensor]:
    return state | {k: state[k][:n].clone() for k in ("head.weight", "head.bias")}


def refusal(*args: object, **options: object) -> str:
    """The message of the `CheckpointError` that loading raises, which is one line."""
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(*args, **options)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)
    return str(caught.value)
