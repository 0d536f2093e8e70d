"""Lists of images: loaded where a worker has the data set, and only if it is the same one."""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgenext.commands.sweep_images import ListedImages
from edgenext.data import ImageSet, load_images
from edgenext.errors import DataError
from edgenext.schema import EvalTransform

TRANSFORM = EvalTransform(size=32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data set of two classes."""
    pixels = np.random.default_rng(0).integers(0, 256, (6, 40, 48, 3), np.uint8)
    for i, image in enumerate(pixels):
        path = tmp_path / "mine" / "pictures" / "val" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return tmp_path / "mine" / "pictures"


def images_of(folder: Path | str, classes: int = 2) -> ImageSet:
    return load_images(folder, TRANSFORM, role="val", num_classes=classes)


def require_equal(a: ImageSet, b: ImageSet) -> None:
    assert np.array_equal(np.asarray(a.images), np.asarray(b.images))
    assert np.array_equal(a.labels, b.labels) and np.array_equal(a.kinds, b.kinds)
    names = ("hashes", "names", "transform", "info", "classes")
    assert [getattr(a, name) for name in names] == [getattr(b, name) for name in names]


def test_a_list_survives_json_and_gives_the_same_images(folder: Path) -> None:
    images = images_of(folder).take([4, 1, 0])
    listed = ListedImages.of(images, folder, "val")
    require_equal(ListedImages.model_validate_json(listed.model_dump_json()).load(), images)
    digits = images_of("digits", 10).take(range(7))
    require_equal(ListedImages.of(digits, "digits", "val").load(), digits)


def test_a_data_set_is_found_by_its_name_elsewhere(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = images_of(folder)
    listed = ListedImages.of(images, folder, "val")
    shutil.copytree(folder, tmp_path / "theirs" / "pictures")
    shutil.rmtree(folder)
    with pytest.raises(DataError, match=r"no data set pictures here. Set EDGENEXT_DATA"):
        listed.load()
    places = [tmp_path / "none", tmp_path / "theirs"]
    monkeypatch.setenv("EDGENEXT_DATA", os.pathsep.join(map(str, places)))
    require_equal(listed.load(), images)


@pytest.mark.parametrize("change", ["another image", "no image", "not an image"])
def test_other_images_of_the_same_name_are_refused(
    folder: Path, change: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    listed = ListedImages.of(images_of(folder), folder, "val")
    monkeypatch.setenv("EDGENEXT_CACHE", str(tmp_path / "cache"))  # of another machine
    path = folder / listed.names[2]
    if change == "another image":
        Image.new("RGB", (40, 48)).save(path)
    elif change == "no image":
        path.unlink()
    else:
        path.write_bytes(b"text")
    with pytest.raises(DataError, match=listed.names[2]):
        listed.load()


def test_a_zip_without_an_image_is_refused_too(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pictures.zip"
    files = sorted(p for p in folder.rglob("*.png"))
    for names in (files, files[:-1]):
        with zipfile.ZipFile(path, "w") as archive:
            for file in names:
                archive.write(file, file.relative_to(folder).as_posix())
        if names is files:
            listed = ListedImages.of(images_of(path), path, "val")
    monkeypatch.setenv("EDGENEXT_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError, match=r"b/5\.png"):
        listed.load()
