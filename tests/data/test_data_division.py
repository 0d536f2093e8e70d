"""Data without split folders is divided by content; other names of splits are understood."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgenext.data import ImageSet, divide, load_images
from edgenext.errors import DataError
from edgenext.schema import Division, EvalTransform

SIZE = EvalTransform(size=32)
MakeFolder = Callable[..., Path]
COUNTS = {"ant": 10, "bee": 5, "cat": 2}


def sides(data: Path, division: Division | None, **options: Any) -> tuple[ImageSet, ImageSet]:
    """The images to train and to evaluate on."""
    train, val = (
        load_images(data, SIZE, role=role, num_classes=3, division=division, **options)
        for role in ("train", "val")
    )
    return train, val


def test_every_class_is_on_both_sides_and_no_image_is(make_folder: MakeFolder) -> None:
    folder = make_folder(COUNTS)
    division = divide(folder, 0, 0.2)
    assert division is not None
    train, val = sides(folder, division)
    assert [list(val.labels).count(i) for i in range(3)] == [2, 1, 1]
    assert [list(train.labels).count(i) for i in range(3)] == [8, 4, 1]
    assert not set(train.hashes) & set(val.hashes)
    assert (train.info.split, train.info.n_total) == ("train", 13)
    assert (val.info.split, val.info.n_total) == ("val", 4)
    assert train.info.division == val.info.division == division
    assert (division.data, division.seed, division.share) == ("images", 0, 0.2)
    both = load_images(folder, SIZE, role="val", num_classes=3)
    assert len(both) == 17 and both.info.division is None


def test_a_division_depends_on_seed_and_content_not_on_names(make_folder: MakeFolder) -> None:
    folder = make_folder(COUNTS)
    held = [sides(folder, divide(folder, seed, 0.2))[1].hashes for seed in (0, 1)]
    assert held[0] != held[1]
    (folder / "ant" / "000.png").rename(folder / "ant" / "renamed.png")
    assert set(sides(folder, divide(folder, 0, 0.2))[1].hashes) == set(held[0])
    archive = folder.parent / "images.zip"
    with zipfile.ZipFile(archive, "w") as z:
        for file in folder.rglob("*.png"):
            z.write(file, f"wrapped/{file.relative_to(folder)}")
    assert set(sides(archive, divide(archive, 0, 0.2))[1].hashes) == set(held[0])


@pytest.mark.parametrize("seed", range(4))
def test_identical_images_are_on_one_side(make_folder: MakeFolder, seed: int) -> None:
    folder = make_folder({"ant": 6, "bee": 6, "cat": 6})
    for i in range(6):
        shutil.copy(folder / "ant" / f"{i:03d}.png", folder / "ant" / f"copy{i}.png")
    for i in range(3):
        shutil.copy(folder / "ant" / f"{i:03d}.png", folder / "bee" / f"ant{i}.png")
    train, val = sides(folder, divide(folder, seed, 0.3))
    assert not set(train.hashes) & set(val.hashes)
    assert len(train) + len(val) == 18 + 6 + 3


def test_other_images_than_those_that_were_divided_are_refused(make_folder: MakeFolder) -> None:
    folder = make_folder(COUNTS)
    division = divide(folder, 0, 0.2)
    (folder / "ant" / "000.png").unlink()
    with pytest.raises(DataError, match="images has changed since it was divided"):
        sides(folder, division)


def test_what_cannot_be_divided(make_folder: MakeFolder) -> None:
    with pytest.raises(DataError, match="has one image, which cannot be divided"):
        divide(make_folder({"a": 1, "b": 0}, name="one"), 0, 0.2)
    with pytest.raises(DataError, match="has no images, which cannot be divided"):
        divide(make_folder({"a": 0, "b": 0}, name="none"), 0, 0.2)
    single = make_folder({"a": 1, "b": 1, "c": 1}, name="single")
    with pytest.raises(DataError, match=r"no class of .*single has two different images"):
        sides(single, divide(single, 0, 0.2))
    assert divide("digits", 0, 0.2) is None


def test_damaged_images_are_counted_on_their_side(make_folder: MakeFolder) -> None:
    folder = make_folder(COUNTS)
    for i in range(5):
        (folder / "ant" / f"{i:03d}.png").write_bytes(b"damaged" + bytes([i]))
    (folder / "bee" / "gone.png").symlink_to(folder / "nowhere")
    train, val = sides(folder, divide(folder, 0, 0.2))
    assert len(train.info.corrupt) + len(val.info.corrupt) == 5
    for images in (train, val):
        assert images.info.n == images.info.n_total == len(images)
    assert len(train) + len(val) == 12


def test_a_limit_may_be_more_than_there_is(make_folder: MakeFolder) -> None:
    folder = make_folder(COUNTS)
    train, _ = sides(folder, divide(folder, 0, 0.2), limit=100, up_to=True)
    assert len(train) == 13
    with pytest.raises(DataError, match=r"only 13\. Ask for 13 at most"):
        sides(folder, divide(folder, 0, 0.2), limit=100)


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("train", "validation"),
        ("training", "valid"),
        ("train", "test"),
        ("Train", "Test"),
        ("TRAIN", "Validation"),
    ],
)
def test_other_names_of_splits(make_folder: MakeFolder, train: str, val: str) -> None:
    make_folder(COUNTS, inside=train)
    folder = make_folder({"ant": 1, "bee": 1, "cat": 1}, inside=val)
    assert divide(folder, 0, 0.2) is None
    images = sides(folder, None)
    assert [len(part) for part in images] == [17, 3]
    assert [part.info.split for part in images] == [train, val]


def test_val_comes_before_test(make_folder: MakeFolder) -> None:
    for split, n in (("train", 3), ("test", 2), ("val", 1)):
        folder = make_folder({"ant": n, "bee": n, "cat": n}, inside=split)
    assert len(sides(folder, None)[1]) == 3


def test_a_class_may_be_called_test(make_folder: MakeFolder) -> None:
    folder = make_folder({"test": 4, "train": 4, "valid": 4})
    division = divide(folder, 0, 0.25)
    assert division is not None
    train, val = sides(folder, division)
    assert (len(train), len(val)) == (9, 3)
    assert train.classes == ("test", "train", "valid")


def test_one_split_alone_is_divided(make_folder: MakeFolder) -> None:
    folder = make_folder(COUNTS, inside="train")
    train, val = sides(folder, divide(folder, 0, 0.2))
    assert (len(train), len(val)) == (13, 4)
