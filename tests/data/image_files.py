"""Images and zips generated for tests."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def noise(seed: int, width: int = 8, height: int = 8, mode: str = "RGB") -> Image.Image:
    rng = np.random.default_rng(seed)
    bands = len(Image.new(mode, (1, 1)).getbands())
    array = rng.integers(0, 256, (height, width, bands), np.uint8)
    return Image.merge(mode, [Image.fromarray(array[:, :, b]) for b in range(bands)])


def zipped(folder: Path, wrapper: str = "") -> Path:
    """The same tree as a zip beside the folder, members in reverse order."""
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as z:
        for file in sorted(folder.rglob("*"), reverse=True):
            if file.is_file():
                z.write(file, f"{wrapper}{file.relative_to(folder).as_posix()}")
    return path
