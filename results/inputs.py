"""Inputs of several scripts: models, data sets and weights."""

from __future__ import annotations

import sys
from pathlib import Path

import safetensors.torch

from edgenext.options import ModelOptions

MODEL, SMALL = "edgenext_xx_small", "edgenext_small"
SIZE = 256
"""Input size of latencies, in pixels."""
OPENVINO = "cpu-openvino"
STRENGTH = 3.0
"""Of stressed twins."""


def train_images(data: Path) -> Path:
    """Tiny-ImageNet's training images, for calibration."""
    return data / "tiny-imagenet-train.zip"


def val_images(data: Path) -> Path:
    """Tiny-ImageNet's validation images, for evaluation."""
    return data / "tiny-imagenet-val.zip"


def golden_model(arch: str, folder: Path) -> ModelOptions:
    """An architecture with the golden weights of the tests, at 64 px."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from golden import weights

    path = folder / f"{arch}-golden.safetensors"
    if not path.is_file():
        safetensors.torch.save_file(weights.state(arch), path)
    return ModelOptions(path, size=64)
