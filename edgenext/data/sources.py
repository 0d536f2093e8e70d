"""Sources of images: a folder, a zip or tar shards. Archives are never extracted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from edgenext.data import heif
from edgenext.data.files import UnreadableError, ending, folders_in, is_visible
from edgenext.data.hash_index import HashIndex
from edgenext.data.shards import SHARD, TarSource, shards_in
from edgenext.errors import DataError, InputError
from edgenext.system.reading import (
    open_file,
    open_zip,
    read_file,
    read_member,
    readable,
    reason,
    similar_files,
)

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff"})
SPLITS = {
    "train": ("train", "training"),
    "val": ("val", "validation", "valid", "test"),
}
"""Role of images → what folders of them are called, in upper or lower case; the first is taken."""
SPLIT_NAMES = tuple(name for names in SPLITS.values() for name in names)
MAX_FILE_BYTES = 1 << 28
"""Larger files are not read, and larger members of a zip are not inflated."""


class Source(Protocol):
    """A tree of files. Paths are relative, with forward slashes; the root is ``""``."""

    def folders(self, path: str) -> list[str]:
        """Names of the folders directly in `path`, sorted, without hidden ones."""
        ...

    def files(self, path: str) -> list[str]:
        """Paths of all files below `path`, sorted, without hidden ones."""
        ...

    def read(self, path: str) -> bytes:
        """A file's bytes.

        Raises:
            UnreadableError: it cannot be read.
        """
        ...


def content_hash(data: bytes) -> str:
    """The first 16 hex digits of the sha256."""
    return hashlib.sha256(data).hexdigest()[:16]


def is_image(path: str) -> bool:
    """Whether files of such a name are read as images."""
    return ending(path) in EXTENSIONS or ending(path) in heif.readable_endings()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one; a link to itself is not."""
    try:
        return entry.is_dir()
    except OSError:
        return False


class FolderSource:
    """A folder on disk. Links are followed, but no folder is visited twice."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folders(self, path: str) -> list[str]:
        """Names of the folders directly in `path`."""
        return sorted(e.name for e in self._scan(path) if _is_folder(e))

    def files(self, path: str) -> list[str]:
        """Paths of all files below `path`."""
        files: list[str] = []
        visited: set[str] = set()
        pending = [path]
        while pending:
            folder = pending.pop()
            real = os.path.realpath(self.root / folder)
            if real in visited:
                continue
            visited.add(real)
            for entry in self._scan(folder):
                name = f"{folder}/{entry.name}" if folder else entry.name
                if _is_folder(entry):
                    pending.append(name)
                # A dangling link or a FIFO is listed so that reading reports it as unreadable.
                else:
                    files.append(name)
        return sorted(files)

    def read(self, path: str) -> bytes:
        """A file's bytes."""
        try:
            return read_file(self.root / path, limit=MAX_FILE_BYTES)
        except InputError as e:
            cause = e.__cause__
            why = reason(cause) if isinstance(cause, OSError) else "larger than 256 MiB"
            raise UnreadableError(why) from e

    def _scan(self, path: str) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(self.root / path) as entries:
                yield from (e for e in entries if is_visible(e.name))
        except OSError as e:
            raise DataError(f"cannot read {self.root / path}: {e.strerror}") from e


class ZipSource:
    """A zip file, read member by member."""

    def __init__(self, path: Path) -> None:
        open_file(path, DataError).close()  # refuse what is no file
        try:
            self.zip = open_zip(path)
        except ValueError as e:
            if path.suffix.lower() == ".zip":
                raise DataError(f"{path} is not a valid zip file: {e}") from e
            if ending(path.name) in EXTENSIONS:
                what, remedy = "an image", "Give the folder that the class folders are in"
            else:
                what, remedy = "a file", "Give a folder or zip of class folders"
            raise DataError(f"{path} is {what}, not a data set", remedy) from e
        except OSError as e:
            raise DataError(f"cannot read {path}: {e.strerror or e}") from e
        names = (m for m in self.zip.namelist() if all(map(is_visible, m.rstrip("/").split("/"))))
        self.members = sorted(names)

    def folders(self, path: str) -> list[str]:
        """Names of the folders directly in `path`."""
        return folders_in(self.members, path)

    def files(self, path: str) -> list[str]:
        """Paths of all files below `path`."""
        prefix = f"{path}/" if path else ""
        # A zip may contain a name twice; the later member is used.
        return sorted({m for m in self.members if m.startswith(prefix) and not m.endswith("/")})

    def read(self, path: str) -> bytes:
        """A member's bytes; never more than the zip's directory states."""
        try:
            return read_member(self.zip, self.zip.getinfo(path), MAX_FILE_BYTES)
        except KeyError as e:
            raise UnreadableError("there is no such member") from e
        except ValueError as e:
            raise UnreadableError(str(e)) from e


class IndexedSource:
    """A source that caches its listings and content hashes, failures to read included.

    The hashes of a folder's files are kept from one command to the next; see `HashIndex`.

    Args:
        source: the tree of files.
        is_image: whether a file is read as an image, by its path.
    """

    def __init__(self, source: Source, is_image: Callable[[str], bool] = is_image) -> None:
        self._source = source
        self.is_image = is_image
        self._folders: dict[str, list[str]] = {}
        self._files: dict[str, list[str]] = {}
        self._hashes: dict[str, str | UnreadableError] = {}

    def folders(self, path: str) -> list[str]:
        """Names of the folders directly in `path`."""
        if path not in self._folders:
            self._folders[path] = self._source.folders(path)
        return self._folders[path]

    def files(self, path: str) -> list[str]:
        """Paths of all files below `path`."""
        if path not in self._files:
            self._files[path] = self._source.files(path)
        return self._files[path]

    def images(self, path: str) -> list[str]:
        """Paths of all files below `path` that are read as images."""
        return [file for file in self.files(path) if self.is_image(file)]

    def read(self, path: str) -> bytes:
        """A file's bytes."""
        return self._source.read(path)

    def content_hash(self, path: str) -> str:
        """The first 16 hex digits of the sha256 of a file's bytes.

        Raises:
            UnreadableError: it cannot be read.
        """
        if path not in self._hashes:
            try:
                self._hashes[path] = self._hashed(path)
            except UnreadableError as e:
                self._hashes[path] = e
        result = self._hashes[path]
        if isinstance(result, UnreadableError):
            raise result
        return result

    def _hashed(self, path: str) -> str:
        """The hash of a file: of a folder's as it was kept, unless the file has changed."""
        index = self._index
        stamp = index.stamp(path) if index else None
        if index is None or stamp is None:
            return content_hash(self._source.read(path))
        known = index.get(path, stamp)
        if known is None:
            known = content_hash(self._source.read(path))
            index.put(path, stamp, known)
        return known

    @cached_property
    def _index(self) -> HashIndex | None:
        return HashIndex(self._source.root) if isinstance(self._source, FolderSource) else None


def open_source(path: Path) -> Source:
    """The folder, zip, tar shard or folder of shards at `path`.

    Raises:
        DataError: it does not exist, or is none of them.
    """
    try:
        is_dir, is_file = path.is_dir(), path.is_file()
    except OSError as e:
        raise DataError(f"cannot read {path}: {e.strerror}") from e
    if is_dir:
        shards = shards_in(path)
        return TarSource(shards) if shards else FolderSource(path)
    if not is_file and not path.exists():
        raise DataError(
            f"cannot load images from {readable(path)}: no such file or folder", similar_files(path)
        )
    return TarSource([path]) if ending(path.name) == SHARD else ZipSource(path)


@dataclass(frozen=True)
class Layout:
    """The folder `path` that contains the class folders, and the `split` it is, if any."""

    path: str
    split: str | None


def find_layout(source: Source, data: Path, role: str, known: frozenset[str]) -> Layout:
    """Find the class folders of `role` in the source at `data`.

    ``train/`` and ``val/``, or what else `SPLITS` has, are splits if they contain folders; the one
    of `role` is used, or the only one that exists. A single folder around all others is entered,
    unless it is one of the `known` class ids.

    Raises:
        DataError: there are no class folders, or there is a split but not that of `role`.
    """
    path = ""
    split = data.stem if data.stem.lower() in SPLIT_NAMES else None
    for _ in range(3):  # at most a wrapping folder and a split
        folders = source.folders(path)
        splits = {
            f.lower(): f
            for f in folders
            if f.lower() in SPLIT_NAMES and f not in known and source.folders(_join(path, f))
        }
        own = [splits[name] for name in SPLITS[role] if name in splits]
        if own or len(splits) == len(folders) == 1:
            split = own[0] if own else next(iter(splits.values()))
            return Layout(_join(path, split), split)
        single = len(folders) == 1 and folders[0] not in known
        if not single or not source.folders(_join(path, folders[0])):
            break
        path = _join(path, folders[0])
    if not folders:
        raise DataError(
            f"{data} has no class folders",
            "Put the images into one folder per class: <class>/… or val/<class>/…",
        )
    if splits:
        others = " or ".join(f"{name}/" for name in SPLITS[role][1:])
        raise DataError(
            f"{data} has {next(iter(splits.values()))}/ but no {role}/ folder",
            f"Such a folder may also be called {others}",
        )
    return Layout(path, split)


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name
