"""Temporary files, locked while their process lives: what a killed one has left can be told.

A lock ends with its process, however that ends; a process number in a name could belong to another
process, or to one of another container that shares the folder.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

NAME = re.compile(r"\..+\.[0-9a-f]{8}\.tmp", re.DOTALL)
"""Names of temporary files: `.<name>.<8 hex digits>.tmp`."""

SCRATCH = "edgenext"
"""What folders in the system's temporary folder are named after."""

LOCKS = sys.platform != "win32"
"""Whether a locked file can be written by its own process, and a folder be locked."""


@contextlib.contextmanager
def temporary_file(path: Path) -> Iterator[Path]:
    """A new empty file beside `path`, removed at the end if it is still there.

    Raises:
        OSError: it cannot be created.
    """
    remove_leftovers(path.parent)
    with _owned(path, folder=False) as temporary:
        yield temporary


@contextlib.contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """A new empty folder beside `path`, removed at the end with everything in it.

    Raises:
        OSError: it cannot be created.
    """
    remove_leftovers(path.parent)
    with _owned(path, folder=True) as temporary:
        yield temporary


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A new empty folder in the system's temporary folder; see `temporary_folder`.

    Raises:
        OSError: it cannot be created.
    """
    path = Path(tempfile.gettempdir(), SCRATCH)
    remove_leftovers(path.parent, name=SCRATCH)
    with _owned(path, folder=True) as temporary:
        yield temporary


def remove_leftovers(folder: Path, *, name: str = "", below: bool = False) -> None:
    """Remove the temporary files of processes that have ended from a folder.

    Those of living processes stay; so do those that this one must not remove.

    Args:
        folder: may not exist.
        name: only those for a file of this name.
        below: also from the folders in it.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in list(entries):
            is_folder = entry.is_dir(follow_symlinks=False)
            if not is_folder and not entry.is_file(follow_symlinks=False):
                continue
            if NAME.fullmatch(entry.name) and entry.name.startswith(f".{name}"):
                _remove_unowned(Path(entry.path), is_folder)
            elif is_folder and below:
                remove_leftovers(Path(entry.path), below=True)


@contextlib.contextmanager
def _owned(path: Path, *, folder: bool) -> Iterator[Path]:
    """A new file or folder beside `path` that this process has locked."""
    temporary, descriptor = _create(path, folder)
    try:
        yield temporary
    finally:
        _remove(temporary, folder)
        if descriptor is not None:
            os.close(descriptor)


def _create(path: Path, folder: bool) -> tuple[Path, int | None]:
    """A new file or folder, and the descriptor that holds its lock, if this system has locks."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        if folder:
            temporary.mkdir(mode=0o700)
        else:
            temporary.touch(exist_ok=False)
        if not LOCKS:
            return temporary, None
        with contextlib.suppress(FileNotFoundError):  # another process took it for a leftover
            descriptor = os.open(temporary, os.O_RDONLY)
            with contextlib.suppress(OSError):  # a file system without locks
                _lock(descriptor, wait=True)
            if temporary.exists():
                return temporary, descriptor
            os.close(descriptor)


def _remove_unowned(temporary: Path, folder: bool) -> None:
    """Remove a temporary file or folder that no process has locked."""
    if not LOCKS:
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(temporary, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            if _lock(descriptor, wait=False):
                _remove(temporary, folder)
        finally:
            os.close(descriptor)


def _lock(descriptor: int, *, wait: bool) -> bool:
    """Lock an open file or folder; whether it is locked."""
    from filelock import lock_descriptor  # a converter's own environment may not have it

    return lock_descriptor(descriptor, blocking=wait)


def _remove(temporary: Path, folder: bool) -> None:
    if folder:
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
