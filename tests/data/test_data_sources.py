"""An indexed source reads its listings and content hashes once, and remembers failures."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from edgenext.data import count_classes, load_images
from edgenext.data.files import UnreadableError
from edgenext.data.loading import open_indexed
from edgenext.data.sources import FolderSource, IndexedSource, content_hash
from edgenext.errors import DataError
from edgenext.schema import EvalTransform

SIZE = EvalTransform(size=32)


class CountingSource:
    """Two files in one class, one of them unreadable; counts every call."""

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str]] = Counter()
        self.readable = False

    def folders(self, path: str) -> list[str]:
        self.calls["folders", path] += 1
        return ["a"] if not path else []

    def files(self, path: str) -> list[str]:
        self.calls["files", path] += 1
        return ["a/bad.png", "a/good.png"]

    def read(self, path: str) -> bytes:
        self.calls["read", path] += 1
        if path == "a/bad.png" and not self.readable:
            raise UnreadableError("Input/output error")
        return path.encode()


def test_folders_and_images_are_listed_once():
    source = CountingSource()
    indexed = IndexedSource(source)
    for _ in range(3):
        assert indexed.folders("") == ["a"] and indexed.folders("a") == []
        assert indexed.images("") == indexed.images("a") == ["a/bad.png", "a/good.png"]
    assert set(source.calls) == {(m, p) for m in ("folders", "files") for p in ("", "a")}
    assert set(source.calls.values()) == {1}


def test_a_file_is_hashed_once_and_read_every_time():
    source = CountingSource()
    indexed = IndexedSource(source)
    digest = hashlib.sha256(b"a/good.png").hexdigest()[:16]
    assert [indexed.content_hash("a/good.png") for _ in range(3)] == [digest] * 3
    assert content_hash(b"a/good.png") == digest
    assert source.calls == {("read", "a/good.png"): 1}
    assert indexed.read("a/good.png") == indexed.read("a/good.png") == b"a/good.png"
    assert source.calls == {("read", "a/good.png"): 3}


def test_a_failure_to_read_is_remembered_too():
    source = CountingSource()
    indexed = IndexedSource(source)
    for _ in range(3):
        with pytest.raises(UnreadableError, match=r"^Input/output error$"):
            indexed.content_hash("a/bad.png")
        source.readable = True  # the first failure counts
    assert source.calls == {("read", "a/bad.png"): 1}
    assert indexed.content_hash("a/good.png")


def test_a_failure_to_list_is_not_remembered(tmp_path):
    indexed = IndexedSource(FolderSource(tmp_path / "images"))
    with pytest.raises(DataError, match="cannot read"):
        indexed.folders("")
    (tmp_path / "images" / "a").mkdir(parents=True)
    assert indexed.folders("") == ["a"]


def test_loads_that_share_a_source_list_and_hash_once(make_folder, monkeypatch):
    folder = make_folder({"a": 3, "b": 2})
    (folder / "a" / "002.png").unlink()
    (folder / "a" / "gone.png").symlink_to(folder / "nowhere")
    source = open_indexed(folder, "val")
    calls: Counter[tuple[str, str]] = Counter()

    def counted(method):
        original = getattr(FolderSource, method)

        def call(self, path):
            if self is source._source:  # decoding opens the folder again
                calls[method, path] += 1
            return original(self, path)

        return call

    for method in ("folders", "files", "read"):
        monkeypatch.setattr(FolderSource, method, counted(method))
    assert count_classes(folder, "val", source) == 2
    first = load_images(folder, SIZE, role="val", num_classes=2, source=source)
    second = load_images(folder, SIZE, role="val", num_classes=2, source=source)
    assert first.info == second.info and first.hashes == second.hashes
    assert first.info.corrupt == ("a/gone.png",) and len(first) == 4
    assert {path for method, path in calls if method == "read"} == {*first.names, "a/gone.png"}
    assert set(calls.values()) == {1}
    assert first.info == load_images(folder, SIZE, role="val", num_classes=2).info
