"""A folder with the names that the docs use: photos, images of ImageNet's classes, weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.torch import save_file

from edgenext.models.random_weights import random_state

XXS = "edgenext_xx_small"
SIZE = 32
PHOTOS = ("banana", "chimpanzee", "fountain", "goldfish", "tabby", "trolleybus")
WNIDS = Path(__file__).parents[2] / "edgenext" / "models" / "imagenet_wnids.txt"


def make_world(folder: Path) -> None:
    """Everything that the commands of the docs begin with, as small as they allow."""
    import torch

    wnids = WNIDS.read_text("utf-8").split()
    transform = {"size": SIZE}
    for name, classes in (("edgenext_xx_small", 1000), ("mine", 200)):
        state = random_state(XXS, classes, 0)
        torch.save(state, folder / f"{name}.pth")
        save_file(state, folder / f"{name}.safetensors")
        labels = wnids if classes == 1000 else [f"class{i}" for i in range(classes)]
        facts = {"arch": XXS, "num_classes": classes, "eval": transform, "labels": labels}
        (folder / f"{name}.json").write_text(json.dumps(facts))
    draw_classes(folder / "photos", PHOTOS, 8, seed=1)
    draw_classes(
        folder / "imagenet" / "train", wnids[::100], 20, seed=2
    )  # 128 to calibrate on, 64 others
    draw_classes(folder / "imagenet" / "val", wnids[::100], 4, seed=3)
    for seed, name in enumerate(("photo.jpg", "some-photo.jpg")):
        draw(folder / name, np.random.default_rng(10 + seed))


def draw_classes(folder: Path, classes: Sequence[str], each: int, seed: int) -> None:
    """A folder of class folders, each with so many pictures."""
    rng = np.random.default_rng(seed)
    for label in classes:
        (folder / label).mkdir(parents=True)
        for i in range(each):
            draw(folder / label / f"{i}.png", rng)


def draw(path: Path, rng: np.random.Generator) -> None:
    """A picture of noise."""
    Image.fromarray(rng.integers(0, 256, (40, 44, 3), np.uint8)).save(path)
