"""Small sets of photographs for the tests of training, as folders, zips and tar shards."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from edgenext.data import PhotoSet, load_photos
from edgenext.schema import EvalTransform

CLASSES = ("blue", "green", "red")


def jpeg(label: int, number: int) -> bytes:
    """A noisy 72×56 image in the colour of its class."""
    rng = np.random.default_rng((label, number))
    pixels = rng.integers(0, 90, (56, 72, 3), np.uint8)
    pixels[..., 2 - label] += 150
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def photo_folder(folder: Path, each: int = 6, first: int = 0) -> Path:
    """A folder with as many images of each class."""
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(first, first + each):
            (folder / name / f"{number:03}.jpg").write_bytes(jpeg(label, number))
    return folder


def photo_shards(folder: Path, each: int = 6, shards: int = 2) -> Path:
    """The same images as tar shards, in the layout of WebDataset."""
    folder.mkdir()
    for shard in range(shards):
        with tarfile.open(folder / f"set-{shard:04}.tar", "w") as tar:
            for number in range(shard, each, shards):
                for label in range(len(CLASSES)):
                    key = f"{label}-{number:03}"
                    for name, data in (
                        (f"{key}.jpg", jpeg(label, number)),
                        (f"{key}.cls", str(label).encode()),
                        (f"{key}.json", b"{}"),
                    ):
                        info = tarfile.TarInfo(name)
                        info.size = len(data)
                        tar.addfile(info, io.BytesIO(data))
    return folder


def photo_set(data: Path, size: int = 32) -> PhotoSet:
    """All images of a set."""
    return load_photos(data, EvalTransform(size=size), num_classes=len(CLASSES))
