"""Packages to test, and what `edgenext` itself computes of their images."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgenext import api
from edgenext.data.decode import decode
from edgenext.formats.artifact import Artifact, manifest_path, open_artifact
from edgenext.formats.runtimes import open_session
from edgenext.options import ExportOptions, ModelOptions

XXS = "edgenext_xx_small"
HOSTILE_NAMES = (
    "<script>document.title='owned'</script>",
    '"; process.exit(7); "',
    "tench, Tinca tinca | --- *bold* `code`",
    "größer 大 \\n \\u0041 ${1+1} @@file",
    *(f"class {i}" for i in range(4, 10)),
)
HOSTILE_FILE = "a \"b\" <i> $x 'ü' @@size.onnx"


@dataclass(frozen=True)
class Packaged:
    """A package's folder, its file, and the logits of the images in `eval` and `predict`."""

    folder: Path
    artifact: Artifact
    logits: NDArray[np.float32]


def write_images(folder: Path) -> list[Path]:
    rng = np.random.default_rng(0)
    sizes = [(64, 64), (73, 73), (101, 384), (384, 101), (30, 500), (20, 21), (1000, 700)]
    sizes += [(int(w), int(h)) for w, h in rng.integers(40, 400, (13, 2))]
    paths = []
    for i, (width, height) in enumerate(sizes):
        coarse = rng.integers(0, 256, (*rng.integers(3, 12, 2), 3), np.uint8)
        image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
        noise = rng.integers(-20, 20, (height, width, 3))
        pixels = (np.asarray(image).astype(int) + noise).clip(0, 255).astype(np.uint8)
        paths.append(folder / f"{i:02}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def packaged_network(
    folder: Path, images: list[Path], names: tuple[str, ...], options: ExportOptions
) -> Packaged:
    labels = folder / "names.txt"
    labels.write_text("".join(f"n{i:08}\t{name}\n" for i, name in enumerate(names)))
    model = ModelOptions(random_weights=True, num_classes=10, size=64, labels=labels)
    artifact = api.export(XXS, model, options, out=folder)
    path = artifact.path.with_name(HOSTILE_FILE)
    shutil.move(manifest_path(artifact.path), manifest_path(path))
    shutil.move(artifact.path, path)
    api.package([path], out=folder / "package", image=images[0])
    artifact = open_artifact(folder / "package" / path.name)
    return Packaged(folder / "package", artifact, logits(artifact, images))


def logits(artifact: Artifact, images: list[Path]) -> NDArray[np.float32]:
    session, transform = open_session(artifact), artifact.manifest.eval
    pixels = [decode(path.read_bytes(), transform)[None] for path in images]
    return np.concatenate([session.infer(session.prepare(image)) for image in pixels])
