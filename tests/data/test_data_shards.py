"""Tar shards: listed without being unpacked, read where they lie."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from photo_sets import jpeg, photo_shards

from edgenext.data import load_images
from edgenext.data.files import UnreadableError
from edgenext.data.shards import TarSource, shards_in
from edgenext.data.sources import open_source
from edgenext.errors import DataError
from edgenext.schema import EvalTransform


def shard(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_classes_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    files = {f"{n}.{e}": d for n in (2, 10) for e, d in (("jpg", b"x"), ("cls", str(n).encode()))}
    source = TarSource([shard(tmp_path / "a.tar", files)])
    assert source.folders("") == ["02", "10"]
    assert source.files("02") == ["02/a/2.jpg"] and source.read("02/a/2.jpg") == b"x"


def test_folders_inside_a_shard_are_classes(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", {"./cat/1.jpg": b"c", "dog/1.jpg": b"d", "dog/._1.jpg": b""})
    source = open_source(path)
    assert source.folders("") == ["cat", "dog"]
    assert [source.read(p) for p in source.files("")] == [b"c", b"d"]


def test_shards_are_evaluated_as_a_folder_is(tmp_path: Path) -> None:
    folder = photo_shards(tmp_path / "shards", each=2)
    images = load_images(folder, EvalTransform(size=32), role="val", num_classes=3)
    assert len(images) == 6 and images.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert len(shards_in(folder)) == 2
    (folder / "photo.jpg").write_bytes(jpeg(0, 0))  # a folder with a tar in it is a folder
    assert shards_in(folder) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no tar at all" * 100, "cannot be read as a tar shard"),
        (b"", "cannot be read as a tar shard"),
    ],
)
def test_damaged_shards(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_source(path)


def test_a_compressed_shard_says_so(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", {"cat/1.jpg": b"c"}, "w:gz")
    with pytest.raises(DataError, match="Shards must not be compressed"):
        open_source(path)


def test_an_image_without_a_class(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1\.jpg in .*a\.tar has no class"):
        open_source(shard(tmp_path / "a.tar", {"1.jpg": b"x"}))


def test_a_shard_that_became_shorter(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", {"cat/1.jpg": b"c" * 4000})
    source = open_source(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UnreadableError, match="the shard ends before it"):
        source.read("cat/a/cat_1.jpg")
