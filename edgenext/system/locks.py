"""Folders that one process at a time works in."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from edgenext.errors import EdgenextError, OutputError

NAME = ".lock"
"""Name of the file that is locked in a folder; it says who holds the folder."""

PATIENCE_S = 0.2
"""How long a lock that is held may take to become free."""


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Hold a folder, which is created, so that no other process works in it.

    The lock ends with this process, however that ends. At the end a folder that is still empty
    is removed, if it was created here.

    Raises:
        OutputError: another process holds it, which is named; or the folder cannot be written.
    """
    created = _create(folder)
    try:
        with hold_file(folder / NAME, f"{folder} is in use"):
            yield
    finally:
        with contextlib.suppress(OSError):  # not empty: the usual case
            for path in created:
                path.rmdir()


@contextlib.contextmanager
def hold_file(lock: Path, busy: str, error: type[EdgenextError] = OutputError) -> Iterator[None]:
    """Hold a lock file, which is removed at the end; see `hold`.

    Args:
        lock: in a folder that exists.
        busy: the message where another process holds it, up to "by process …".
        error: the error's class.
    """
    # a new object each time, so that two threads of one process exclude each other too
    guard = FileLock(lock, timeout=PATIENCE_S, thread_local=False)
    try:
        guard.acquire()
    except Timeout as e:
        raise error(
            f"{busy} by {_holder(lock)}", "Wait until it ends, or choose another folder"
        ) from e
    except OSError as e:
        raise OutputError(f"cannot write {lock}: {e.strerror or e}", "Choose another folder") from e
    try:
        with contextlib.suppress(OSError):
            lock.write_text(_own_name())
        yield
    finally:
        with contextlib.suppress(OSError):  # while it is held: nobody else has locked it
            lock.unlink()
        guard.release()


def _create(folder: Path) -> list[Path]:
    """Create a folder and those above it; those that did not exist, the deepest first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise OutputError(
            f"cannot write {folder}: {e.strerror or e}", "Choose another folder"
        ) from e
    return missing


def _own_name() -> str:
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return f"process {os.getpid()} ({command})"


def _holder(lock: Path) -> str:
    """Who has written a lock file, on one line."""
    try:
        text = lock.read_text(errors="replace")
    except OSError:
        text = ""
    return " ".join(text.split())[:200] or "another process"
