"""Content hashes of a folder's files, kept in the cache: a file is hashed again if it changed.

An entry holds while a file has the same size, times and inode. One that was changed shortly before
it was hashed is not kept: a further change within the clock's resolution would not show (the
"racily clean" entries of git's index).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
from pathlib import Path

from edgenext.system.files import cache_folder

SETTLED_NS = 2_000_000_000
"""A file that was changed less than so long ago may be changed again unseen."""
BATCH = 4096
"""New entries that are written at once."""
WAIT_S = 5.0
"""How long another process may hold the database."""

Stamp = tuple[int, int, int, int]
"""What changes with a file: its size, times of modification and change in ns, and its inode."""

_SCHEMA = """CREATE TABLE IF NOT EXISTS hashes (
    path BLOB PRIMARY KEY, size INTEGER, mtime INTEGER, ctime INTEGER, inode INTEGER, digest TEXT
) WITHOUT ROWID"""
_QUERY = """SELECT digest FROM hashes
    WHERE path = ? AND size = ? AND mtime = ? AND ctime = ? AND inode = ?"""


class HashIndex:
    """The content hashes of the files below a folder.

    A cache that cannot be read or written is an empty one: hashes are then computed each time.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._process = root, os.getpid()
        self._new: list[tuple[bytes, int, int, int, int, str]] = []
        self._database = _open(index_path(root))

    def stamp(self, path: str) -> Stamp | None:
        """The stamp of a file below the folder; None if it cannot be read."""
        try:
            stat = (self._root / path).stat()
        except (OSError, ValueError):
            return None
        return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino

    def get(self, path: str, stamp: Stamp) -> str | None:
        """The hash that a file of this stamp had; None if it is not known."""
        if self._database is None:
            return None
        with contextlib.suppress(sqlite3.Error):
            row = self._database.execute(_QUERY, (os.fsencode(path), *stamp)).fetchone()
            return str(row[0]) if row else None
        return None

    def put(self, path: str, stamp: Stamp, digest: str) -> None:
        """Keep the hash of a file that had this stamp before it was read."""
        changed = max(stamp[1], stamp[2])
        if self._database is None or changed > time.time_ns() - SETTLED_NS:
            return
        self._new.append((os.fsencode(path), *stamp, digest))
        if len(self._new) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Write what is new."""
        if self._database is None or not self._new:
            return
        with contextlib.suppress(sqlite3.Error), self._database:
            self._database.executemany(
                "INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?, ?)", self._new
            )
        self._new.clear()

    def __del__(self) -> None:
        """Write what is new, and close the database; a forked process leaves both to its parent."""
        database = getattr(self, "_database", None)
        if database is not None and self._process == os.getpid():
            self.flush()
            with contextlib.suppress(sqlite3.Error):
                database.close()


def index_path(root: Path) -> Path:
    """Where the index of a folder is kept."""
    name = hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()[:16]
    return cache_folder("index") / f"{name}.sqlite"


def _open(path: Path) -> sqlite3.Connection | None:
    """The database, made if there is none; a damaged one is replaced."""
    for _ in range(2):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            database = sqlite3.connect(path, timeout=WAIT_S)
            database.execute("PRAGMA synchronous=OFF")  # it can be made again
            database.execute(_SCHEMA)
            database.execute("SELECT digest FROM hashes LIMIT 1").fetchone()
            return database
        except sqlite3.OperationalError:
            return None  # it cannot be written, or another process holds it
        except sqlite3.DatabaseError:
            with contextlib.suppress(OSError):
                path.unlink()
        except OSError:
            return None
    return None
