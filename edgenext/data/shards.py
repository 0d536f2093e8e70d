"""Tar shards as WebDataset lays them out, read in any order.

A sample is the files that share a name up to its first dot: an image and its class in a `.cls`
file. Members are read where they lie in the shard, so that a training may visit them in its own
random order, and resume in the middle of it.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgenext.data.files import UnreadableError, ending, folders_in, is_visible
from edgenext.errors import DataError
from edgenext.system.reading import open_file, reason

SHARD = ".tar"
CLASS_FILES = (".cls", ".txt")
"""Endings of a file with a sample's class, the first that is there."""
MAX_CLASS_BYTES = 1024


@dataclass(frozen=True)
class Member:
    """Where a file lies in a shard."""

    shard: int
    offset: int
    size: int


def shards_in(folder: Path) -> list[Path]:
    """The shards of a folder that has nothing else to read, sorted; else none."""
    try:
        with os.scandir(folder) as entries:
            names = [e.name for e in entries if is_visible(e.name)]
    except OSError:
        return []  # told by who reads it
    shards = [name for name in names if ending(name) == SHARD]
    others = [n for n in names if n not in shards and ending(n) not in (".json", ".txt", ".md")]
    return [] if others else [folder / name for name in sorted(shards)]


class TarSource:
    """Shards as one tree: the images of class 7 are `0007/<shard>/<name>`.

    Classes that are numbers are filled up with zeros, so that their order is that of the numbers.
    Images without a class file belong to the folder that they are in.

    Raises:
        DataError: a shard cannot be read, or is compressed or damaged.
    """

    def __init__(self, shards: Sequence[Path]) -> None:
        self._shards = list(shards)
        self._handles: dict[tuple[int, int], int] = {}
        samples = [s for i, shard in enumerate(self._shards) for s in _samples(i, shard)]
        numbers = [s[0] for s in samples if s[0].isdecimal()]
        width = max(map(len, numbers), default=0)
        self._members = {
            f"{label.zfill(width) if label.isdecimal() else label}/{path}": member
            for label, path, member in samples
        }

    def folders(self, path: str) -> list[str]:
        """Names of the classes, or of the shards with images of a class."""
        return folders_in(self._members, path)

    def files(self, path: str) -> list[str]:
        """Paths of all images below `path`."""
        prefix = f"{path}/" if path else ""
        return sorted(m for m in self._members if m.startswith(prefix))

    def read(self, path: str) -> bytes:
        """An image's bytes."""
        if path not in self._members:
            raise UnreadableError("there is no such member")
        member = self._members[path]
        try:
            data = os.pread(self._handle(member.shard), member.size, member.offset)
        except OSError as e:
            raise UnreadableError(reason(e)) from e
        if len(data) != member.size:
            raise UnreadableError("the shard ends before it")
        return data

    def _handle(self, shard: int) -> int:
        """The shard, opened once in each process."""
        key = (os.getpid(), shard)
        if key not in self._handles:
            self._handles[key] = os.open(self._shards[shard], os.O_RDONLY)
        return self._handles[key]

    def __del__(self) -> None:
        """Close the shards."""
        for (process, _), handle in self._handles.items():
            if process == os.getpid():
                os.close(handle)


def _samples(index: int, shard: Path) -> Iterator[tuple[str, str, Member]]:
    """Class, path and place of every image of a shard."""
    try:
        with open_file(shard, DataError) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            files = {m.name: m for m in tar if m.isreg() and not m.issparse()}
            for name, info in files.items():
                yield from _sample(index, shard, tar, files, name, info)
    except (tarfile.TarError, OSError, ValueError, EOFError) as e:
        raise DataError(
            f"{shard} cannot be read as a tar shard: {reason(e)}",
            "Shards must not be compressed; images may be",
        ) from e


def _sample(
    index: int,
    shard: Path,
    tar: tarfile.TarFile,
    files: dict[str, tarfile.TarInfo],
    name: str,
    info: tarfile.TarInfo,
) -> Iterator[tuple[str, str, Member]]:
    folder, _, file = name.removeprefix("./").rpartition("/")
    if ending(name) in (*CLASS_FILES, ".json") or not is_visible(file):
        return
    stem = f"{name[: len(name) - len(file)]}{file.split('.', 1)[0]}"
    label = next((files[stem + e] for e in CLASS_FILES if stem + e in files), None)
    if label is not None:
        content = tar.extractfile(label)
        text = content.read(MAX_CLASS_BYTES) if content else b""
        folder = text.decode(errors="replace").strip().replace("/", "_")
    if not folder:
        raise DataError(
            f"{name} in {shard} has no class", "Give each image a .cls file, or a class folder"
        )
    path = name.removeprefix("./").replace("/", "_")
    member = Member(index, info.offset_data, info.size)
    yield folder.replace("/", "_"), f"{shard.stem}/{path}", member
