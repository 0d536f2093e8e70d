"""Content hashes of a folder's files are kept from one command to the next."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgenext.data.files import UnreadableError
from edgenext.data.hash_index import HashIndex, index_path
from edgenext.data.sources import FolderSource, IndexedSource, content_hash

HOUR_NS = 3_600_000_000_000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file that was last changed some seconds ago."""
    monkeypatch.setenv("EDGENEXT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("edgenext.data.hash_index.SETTLED_NS", -HOUR_NS)
    root = tmp_path / "data"
    root.mkdir()
    (root / "a.jpg").write_bytes(b"first")
    return root


class Counted(FolderSource):
    """A folder that counts what is read."""

    reads = 0

    def read(self, path: str) -> bytes:
        self.reads += 1
        return super().read(path)


def hashed(folder: Path, path: str = "a.jpg") -> tuple[str, int]:
    """The hash of a file by a source of its own, and how many files that read."""
    source = Counted(folder)
    return IndexedSource(source).content_hash(path), source.reads


def test_a_file_is_read_once(folder: Path) -> None:
    assert hashed(folder) == (content_hash(b"first"), 1)
    assert hashed(folder) == (content_hash(b"first"), 0)


@pytest.mark.parametrize("name", ["ä b.jpg", "\udcff.jpg", "x'\"; DROP TABLE hashes.jpg"])
def test_any_name_is_kept(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"x")
    assert [hashed(folder, name)[1] for _ in range(2)] == [1, 0]


def rewrite(path: Path) -> None:
    path.write_bytes(b"other")


def rewrite_with_its_old_times(path: Path) -> None:
    before = path.stat()
    path.write_bytes(b"other")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace(path: Path) -> None:
    new = path.with_name("new")
    new.write_bytes(b"other")
    os.utime(new, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    new.replace(path)


@pytest.mark.parametrize("change", [rewrite, rewrite_with_its_old_times, replace])
def test_a_changed_file_is_read_again(folder: Path, change: Callable[[Path], None]) -> None:
    hashed(folder)
    time.sleep(0.02)
    change(folder / "a.jpg")
    assert hashed(folder) == (content_hash(b"other"), 1)


def test_what_was_changed_just_now_is_not_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("EDGENEXT_CACHE", str(folder.parent / "cache"))
    assert [hashed(folder)[1] for _ in range(2)] == [1, 1]


def test_what_cannot_be_read_is_no_hash(folder: Path) -> None:
    hashed(folder)
    (folder / "a.jpg").unlink()
    with pytest.raises(UnreadableError):
        hashed(folder)
    os.mkfifo(folder / "b.jpg")
    with pytest.raises(UnreadableError):
        hashed(folder, "b.jpg")


@pytest.mark.parametrize("content", [b"", b"no database", b"SQLite format 3\0" + bytes(4096)])
def test_a_damaged_index_is_made_again(folder: Path, content: bytes) -> None:
    hashed(folder)
    index_path(folder).write_bytes(content)
    assert [hashed(folder)[1] for _ in range(2)] == [1, 0]


def test_without_a_cache_everything_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "file"
    file.touch()
    monkeypatch.setenv("EDGENEXT_CACHE", str(file))
    assert [hashed(folder) for _ in range(2)] == [(content_hash(b"first"), 1)] * 2


def test_another_thread_reads_for_itself(folder: Path) -> None:
    source, results = IndexedSource(Counted(folder)), []
    source.content_hash("a.jpg")
    (folder / "b.jpg").write_bytes(b"second")
    thread = threading.Thread(target=lambda: results.append(source.content_hash("b.jpg")))
    thread.start()
    thread.join()
    assert results == [content_hash(b"second")]


@pytest.mark.parametrize(
    "n",
    [
        20_000,
        pytest.param(1_280_000, marks=pytest.mark.campaign),  # as many as ImageNet's train has
    ],
)
def test_a_large_folder_is_indexed_in_seconds(
    folder: Path, n: int, record_property: Callable[[str, object], None]
) -> None:
    """The second listing and hashing of empty files: no file is opened."""
    for c in range(n // 1000):
        below = folder / f"class{c:04}"
        below.mkdir()
        for i in range(1000):
            os.close(os.open(below / f"{i}.jpg", os.O_CREAT))
    first = IndexedSource(Counted(folder))
    hashes = {path: first.content_hash(path) for path in first.images("")}
    assert len(hashes) == n + 1
    del first
    again, start = Counted(folder), time.perf_counter()
    source = IndexedSource(again)
    assert {path: source.content_hash(path) for path in source.images("")} == hashes
    assert again.reads == 0
    record_property("seconds", time.perf_counter() - start)


def test_entries_are_written_as_they_come(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgenext.data.hash_index.BATCH", 2)
    index, other = HashIndex(folder), HashIndex(folder)
    stamp = index.stamp("a.jpg")
    assert stamp is not None
    for name in ("a", "b", "c"):
        index.put(name, stamp, name)
    assert [other.get(name, stamp) for name in ("a", "b", "c")] == ["a", "b", None]
