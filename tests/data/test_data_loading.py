"""The images of a folder or zip, their labels and their order."""

from __future__ import annotations

import logging
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from image_files import noise, zipped

from edgenext.data import ImageSet, count_classes, heif, load_images, require_disjoint
from edgenext.errors import DataError, OverlapError, UsageError
from edgenext.models import zoo
from edgenext.schema import EvalTransform

SIZE = EvalTransform(size=32)
ABC = {"a": 3, "b": 2, "c": 4}


def load(data: object, num_classes: int = 3, role: str = "val", **options: object) -> ImageSet:
    return load_images(data, SIZE, role=role, num_classes=num_classes, **options)


@pytest.mark.parametrize(
    ("inside", "role", "split"),
    [("", "val", None), ("val", "val", "val"), ("train", "val", "train"), ("val", "train", "val")],
)
@pytest.mark.parametrize("wrapper", [None, "", "dataset/"])
def test_every_layout_gives_the_same_images(make_folder, inside, role, split, wrapper):
    folder = make_folder(ABC, inside)
    data = folder if wrapper is None else zipped(folder, wrapper)
    images = load(data, role=role)
    assert images.labels.tolist() == [0] * 3 + [1] * 2 + [2] * 4
    assert images.images.shape == (9, 32, 32, 3)
    assert images.info.split == split
    assert (images.info.n, images.info.n_total) == (9, 9)
    assert images.classes == ("a", "b", "c")
    assert all(
        name.split("/")[-2] == "abc"[label]
        for name, label in zip(images.names, images.labels, strict=True)
    )
    assert images.hashes == load(folder, role=role).hashes


def test_role_picks_the_split(make_folder):
    make_folder({"a": 2, "b": 2}, "train")
    folder = make_folder({"a": 1, "b": 1}, "val")
    assert load(folder, 2, "train").info.n == 4
    assert load(folder, 2, "val").info.n == 2
    assert load(folder / "train", 2, "val").info.split == "train"  # the folder itself was named
    shutil.rmtree(folder / "val")
    make_folder({"a": 1}, "others")
    with pytest.raises(DataError, match="has train/ but no val/ folder"):
        load(folder, 2, "val")
    make_folder({"a": 2, "b": 1}, "test")
    held_out = load(folder, 2, "val").info
    assert (held_out.split, held_out.n) == ("test", 3)


def test_a_class_may_be_called_train(make_folder):
    images = load(make_folder({"train": 2, "bus": 2}), 2)
    assert images.classes == ("bus", "train")
    assert images.info.split is None


def test_labels_give_the_indices_of_a_subset_of_the_classes(make_folder):
    images = load(make_folder({"c": 1, "a": 1}), 4, labels=["c", "x", "a", "b"])
    assert images.labels.tolist() == [0, 2]
    assert images.classes == ("c", "x", "a", "b")


def test_a_name_of_macos_is_the_same_class(make_folder):
    folder = make_folder({"cafe\u0301": 1, "tea": 2})
    assert load(folder, 2, labels=["tea", "caf\u00e9"]).labels.tolist() == [0, 0, 1]


def test_wnids_mean_imagenet(make_folder):
    images = load(make_folder({"n01443537": 1, "n02123045": 1}), 1000)
    wnids = zoo.imagenet_wnids()
    assert images.labels.tolist() == [wnids.index("n01443537"), wnids.index("n02123045")]


@pytest.mark.parametrize(
    ("counts", "num_classes", "labels", "message"),
    [
        ({"a": 1, "b": 1}, 3, None, "has 2 classes, the model has 3"),
        ({"a": 1, "b": 1}, 2, ["x", "y"], "no class in common: .* has a, b, the model x, y"),
        ({"a": 1, "x": 1}, 2, ["x", "y"], "1 of 2 classes in .* unknown to the model: a"),
        ({"a": 1}, 3, ["a", "b"], "2 labels for a model with 3 classes"),
        ({"n00000000": 1}, 1000, None, "no class in common"),
        ({"a": 1}, 3, ["a", "b", "a"], r"the model has labels .*: a \(outputs 1 and 3\)"),
        ({"é": 1, "e\u0301": 1}, 2, None, r"class folders .*: é \(numbers 1 and 2\)"),
    ],
)
def test_classes_that_do_not_fit(make_folder, counts, num_classes, labels, message):
    with pytest.raises(DataError, match=message):
        load(make_folder(counts), num_classes, labels=labels)


def test_an_empty_class_folder_keeps_its_place(make_folder):
    folder = make_folder({"a": 1, "c": 1})
    (folder / "b").mkdir()
    assert load(folder).labels.tolist() == [0, 2]


def test_other_files_are_counted_and_named(make_folder, caplog, monkeypatch):
    monkeypatch.setattr(heif, "readable_endings", frozenset)
    folder = make_folder({"a": 1, "b": 1, "c": 0})
    for path in ("c/1.heif", "c/2.HEIF", "c/deep/3.heif", "a/4.svg", "a/noending"):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(b"x")
    for path in ("a/notes.txt", "a/.hidden.png", "__MACOSX/a/x.png", ".cache/x.png"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"x")
    shutil.copy(folder / "a/000.png", folder / "stray.PNG")
    shutil.copy(folder / "a/000.png", folder / "a/second.PNG")
    for data in (folder, zipped(folder)):
        caplog.clear()
        info = load(data).info
        assert (info.n, info.n_total, info.empty_classes) == (3, 3, ("c",))
        others = {row.ending: (row.n, row.examples) for row in info.unread}
        assert others == {
            ".heif": (3, ("c/1.heif", "c/2.HEIF", "c/deep/3.heif")),
            ".svg": (1, ("a/4.svg",)),
            ".txt": (1, ("a/notes.txt",)),
            "": (1, ("a/noending",)),
        }
        assert "1 images" in caplog.text and "no class folder" in caplog.text
        assert "6 files in its class folders are not read: 3 .heif (c/1.heif, …)" in caplog.text
        assert "1 class has no image that is read: c" in caplog.text
        assert "edgenext[heic]" in caplog.text
        caplog.clear()
        assert load(data, labels=["a", "b", "c"]).info.empty_classes == ("c",)
        assert "1 class has no image that is read: c" in caplog.text
        assert load(data, num_classes=count_classes(data, "train"), role="train").info.n == 3


def test_a_set_of_other_files_alone_says_so(tmp_path):
    (tmp_path / "d" / "a").mkdir(parents=True)
    for i in range(12):
        (tmp_path / "d" / "a" / f"x.end{i:02d}").write_bytes(b"x")
    (tmp_path / "d" / "a" / "y.avif").write_bytes(b"x")
    with pytest.raises(DataError, match=r"no images that are read, only 1 \.avif .*4 \.\*"):
        load(tmp_path / "d", 1)


def test_links_are_followed_once(make_folder):
    folder = make_folder({"a": 2, "b": 1})
    (folder / "c").symlink_to(folder / "b", target_is_directory=True)
    (folder / "a" / "loop").symlink_to(folder, target_is_directory=True)
    assert load(folder).info.n >= 3  # and it ends


@pytest.mark.parametrize("workers", [1, 2])
def test_broken_images_are_named_and_not_counted(make_folder, caplog, workers):
    folder = make_folder({"a": 150, "b": 120})
    good = (folder / "a/007.png").read_bytes()
    (folder / "a/007.png").write_bytes(good[: len(good) // 2])
    (folder / "b/003.png").write_bytes(b"")
    (folder / "b/004.png").write_text("not an image")
    (folder / "b/gone.png").symlink_to(folder / "nowhere")
    caplog.set_level(logging.WARNING)
    images = load(folder, 2, workers=workers)
    assert images.info.corrupt == ("a/007.png", "b/003.png", "b/004.png", "b/gone.png")
    assert (images.info.n, images.info.n_total, len(images)) == (267, 267, 267)
    assert len(images.images) == 267 and "a/007.png" not in images.names
    for name in images.info.corrupt:
        assert name in caplog.text
    again = load(folder, 2, workers=workers)  # from the cache
    assert again.info == images.info
    np.testing.assert_array_equal(again.images, images.images)


def test_a_broken_zip_member_is_named(make_folder, tmp_path):
    path = zipped(make_folder({"a": 4, "b": 4}))
    raw = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as z:
        info = z.getinfo("a/002.png")
    at = info.header_offset + 30 + len(info.filename) + 60
    raw[at] ^= 0xFF
    path.write_bytes(raw)
    images = load(path, 2)
    assert images.info.corrupt == ("a/002.png",)
    assert images.info.n == 7


def test_only_broken_images(tmp_path):
    (tmp_path / "d" / "a").mkdir(parents=True)
    (tmp_path / "d" / "a" / "x.jpg").write_bytes(b"zzz")
    with pytest.raises(DataError, match=r"no usable image in .*: 1 broken, 0 excluded"):
        load(tmp_path / "d", 1)
    with pytest.raises(DataError, match=r"1 images were requested, .* has only 0"):
        load(tmp_path / "d", 1, limit=1)


def test_no_data(tmp_path, make_folder):
    with pytest.raises(DataError, match="no such file or folder"):
        load(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no class folders"):
        load(tmp_path / "empty")
    (tmp_path / "empty" / "a").mkdir()
    with pytest.raises(DataError, match="has no images"):
        load(tmp_path / "empty", 1)
    (tmp_path / "not.zip").write_bytes(b"PK\x03\x04 but not a zip")
    with pytest.raises(DataError, match=r"not\.zip is not a valid zip"):
        load(tmp_path / "not.zip")
    truncated = zipped(make_folder(ABC))
    truncated.write_bytes(truncated.read_bytes()[:-100])
    with pytest.raises(DataError, match="not a valid zip"):
        load(truncated)


def test_hostile_zip(tmp_path, make_folder):
    """Nothing is extracted, members outside the tree and inflated giants are not read."""
    folder = make_folder({"a": 1, "b": 1})
    path = zipped(folder)
    png = (folder / "a/000.png").read_bytes()
    with zipfile.ZipFile(path, "a") as z:
        for name in ("../a/escape.png", "/a/absolute.png", "a/../../up.png"):
            z.writestr(name, png)
        with z.open(zipfile.ZipInfo("a/giant.png"), "w", force_zip64=True) as f:
            for _ in range(257):
                f.write(bytes(1 << 20))
    before = sorted(tmp_path.rglob("*"))
    images = load(path, 2, cache_dir=tmp_path / "cache")
    assert images.names == ("a/000.png", "b/000.png")
    assert images.info.corrupt == ("a/giant.png",)
    new = [p for p in sorted(tmp_path.rglob("*")) if p not in before]
    assert all((tmp_path / "cache") in (p, *p.parents) for p in new)


def test_a_limit_is_stratified_and_the_same_for_a_folder_and_a_zip(make_folder):
    folder = make_folder({"a": 9, "b": 9, "c": 2})
    picked = load(folder, limit=8)
    assert np.bincount(picked.labels).tolist() == [3, 3, 2]
    assert (picked.info.n, picked.info.n_total, picked.info.seed) == (8, 20, 0)
    assert load(zipped(folder), limit=8).hashes == picked.hashes
    assert load(folder, limit=8, seed=1).hashes != picked.hashes
    assert list(picked.labels) == sorted(picked.labels)
    assert load(folder, limit=20).hashes == load(folder).hashes
    assert load(folder, limit=2).info.n == 2  # fewer than classes


@pytest.mark.parametrize("role", ["train", "val"])
def test_a_limit_above_the_number_of_images(make_folder, role):
    with pytest.raises(DataError, match=r"10 images were requested, .* has only 9"):
        load(make_folder(ABC), role=role, limit=10)


@pytest.mark.parametrize("options", [{"limit": 0}, {"limit": -1}, {"workers": 0}])
def test_numbers_below_1_are_refused(make_folder, options):
    with pytest.raises(UsageError):
        load(make_folder(ABC), **options)


@pytest.mark.parametrize("bad", [{"size": 0}, {"crop_pct": 0.0}, {"crop_pct": 1.5}])
def test_an_invalid_transform_is_refused(make_folder, bad):
    with pytest.raises(UsageError):
        load_images(make_folder(ABC), EvalTransform(**bad), role="val", num_classes=3)


def test_a_broken_pick_is_replaced(make_folder):
    folder = make_folder({"a": 6, "b": 6})
    victim = load(folder, 2, limit=6).names[0]
    (folder / victim).write_bytes(b"broken")
    images = load(folder, 2, limit=6)
    assert images.info.corrupt == (victim,)
    assert np.bincount(images.labels).tolist() == [3, 3]
    assert (images.info.n, images.info.n_total) == (6, 11)
    assert len(images.images) == 6


def test_excluded_images_are_never_picked(make_folder):
    folder = make_folder(ABC)
    shutil.copy(folder / "a/000.png", folder / "c/copy.png")  # the same content under another path
    first = load(folder, limit=4)
    rest = load(folder, exclude=first.hashes)
    assert not set(rest.hashes) & set(first.hashes)
    require_disjoint(rest, first.calibration())
    require_disjoint(rest)
    second = load(folder, limit=5, exclude=first.hashes, seed=3)
    require_disjoint(second, first.calibration())
    with pytest.raises(
        DataError, match=r"9 images were requested, .* has only \d besides \d excluded ones"
    ):
        load(folder, limit=9, exclude=first.hashes)
    with pytest.raises(
        OverlapError, match=rf"{10 - len(rest)} of the 10 evaluation .* example \w/.* and \w/"
    ):
        require_disjoint(load(folder), first.calibration())


def test_the_hash_of_a_subset_depends_on_content_labels_and_geometry(make_folder):
    folder = make_folder(ABC)
    base = load(folder).info.sha256
    assert load(zipped(folder)).info.sha256 == base
    other_mean = EvalTransform(size=32, mean=(0, 0, 0))  # the pixels are the same
    assert load_images(folder, other_mean, role="val", num_classes=3).info.sha256 == base
    bigger = EvalTransform(size=40)
    assert load_images(folder, bigger, role="val", num_classes=3).info.sha256 != base
    assert load(folder, labels=["b", "a", "c"]).info.sha256 != base
    noise(99).save(folder / "a/000.png")
    assert load(folder).info.sha256 != base


def test_take(make_folder):
    images = load(make_folder(ABC))
    part = images.take([4, 0])
    assert not isinstance(part.images, np.ndarray) and part.images.shape == (2, 32, 32, 3)
    np.testing.assert_array_equal(part.images[1:], images.images[[0]])
    np.testing.assert_array_equal(part.images[1], images.images[0])
    np.testing.assert_array_equal(list(part.images), images.images[[4, 0]])
    np.testing.assert_array_equal(part.take([1]).images, images.images[[0]])
    np.testing.assert_array_equal(part.images, images.images[[4, 0]])
    assert part.hashes == (images.hashes[4], images.hashes[0])
    assert part.labels.tolist() == [1, 0] and part.names[0] == images.names[4]
    assert (part.info.n, part.info.n_total) == (2, 9)
    assert part.info.sha256 not in (images.info.sha256, images.take([0, 4]).info.sha256)
    assert part.calibration().images == part.hashes


def test_progress_reaches_the_end(make_folder):
    folder, calls = make_folder(ABC), []
    load(folder, progress=lambda *call: calls.append(call))
    assert {task for task, _, _ in calls} == {f"decoding {folder}"}
    assert calls[0][1:] == (1, 9) and calls[-1][1:] == (9, 9)
    assert [done for _, done, _ in calls] == sorted(done for _, done, _ in calls)


def test_a_data_folder_without_rights(make_folder):
    folder = make_folder(ABC)
    (folder / "b").chmod(0)
    if os.access(folder / "b", os.R_OK):
        pytest.skip("rights do not bind this user")
    try:
        with pytest.raises(DataError, match=r"cannot read .*b: Permission denied"):
            load(folder)
    finally:
        (folder / "b").chmod(0o700)


def test_tiny_imagenet(shared: Path):
    data = shared / "data" / "tiny-imagenet-val.zip"
    labels = [line.split("\t")[0] for line in (data.parent / "labels.txt").read_text().splitlines()]
    transform = EvalTransform(size=64, crop_pct=1.0)
    images = load_images(data, transform, role="val", num_classes=200, labels=labels, workers=2)
    assert images.images.shape == (5000, 64, 64, 3)
    assert np.bincount(images.labels).tolist() == [25] * 200
    assert images.info.split == "val" and images.info.corrupt == ()
    train = data.with_name("tiny-imagenet-train.zip")
    calibration = load_images(
        train, transform, role="train", num_classes=200, labels=labels, limit=128
    )
    require_disjoint(images, calibration.calibration())
    assert np.bincount(calibration.labels).max() == 1
