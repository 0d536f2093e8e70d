"""Folders of files kept under the sha256 of their content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from edgenext.errors import InputError
from edgenext.system.files import publish, sha256_tree, staging
from edgenext.system.reading import read_file

MAX_FILE_BYTES = 1 << 36
"""The largest file of a tree."""

Files = Mapping[str, bytes]
"""The content of a tree: the bytes of each file by its relative path, with forward slashes."""


def tree_digest(files: Files) -> str:
    """The hex sha256 of a tree: what `sha256_tree` gives of its folder."""
    lines = (f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_tree(folder: Path) -> dict[str, bytes]:
    """The files of a folder and the folders in it.

    Raises:
        InputError: one cannot be read.
    """
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        path.relative_to(folder).as_posix(): read_file(path, limit=MAX_FILE_BYTES) for path in files
    }


class TreeStore:
    """A folder of trees, each in a folder that is called by its sha256."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._intact: set[str] = set()

    def add(self, files: Files) -> str:
        """Keep a tree; its sha256.

        Raises:
            InputError: a name that leads out of the tree.
            OutputError: it cannot be written; nothing is left behind.
        """
        digest = tree_digest(files)
        if self.find(digest) is None:
            for name in files:
                _require_inside(name)
            with staging(self.root / digest) as folder:
                for name, data in files.items():
                    path = folder / digest / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(data)
                publish(folder)
        return digest

    def find(self, digest: str) -> Path | None:
        """The folder of a tree; None where it is not kept, or was changed. It is hashed once."""
        path = self.root / digest
        if digest in self._intact and path.is_dir():
            return path
        try:
            if not path.is_dir() or sha256_tree(path) != digest:
                return None
        except (InputError, OSError):
            return None
        self._intact.add(digest)
        return path


def _require_inside(name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or not path.parts:
        raise InputError(f"a file of a tree cannot be called {name!r}")
