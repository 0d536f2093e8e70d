"""Writing and hashing files: whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from edgenext.errors import InputError, OutputError


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        with path.open("rb") as f:
            return hashlib.file_digest(f, "sha256").hexdigest()
    except OSError as e:
        raise InputError(f"cannot read {path}: {e.strerror}") from e


def cache_folder(name: str, cache_dir: Path | None = None) -> Path:
    """A folder of the cache, which is `cache_dir`, else $EDGENEXT_CACHE, else ~/.cache/edgenext."""
    root = cache_dir or os.environ.get("EDGENEXT_CACHE") or Path("~/.cache/edgenext").expanduser()
    return Path(root) / name


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder that becomes `path` if the block ends well.

    The file is fsynced and renamed; after any error, Ctrl-C included, it is removed.
    Keep the block to writing: any `OSError` in it (a full disk, a forbidden folder) ends
    as `OutputError`.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():  # found before anything is written rather than when it is renamed
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        yield temporary
        with temporary.open("rb+") as f:
            os.fsync(f.fileno())
        temporary.replace(path)
    except OSError as e:
        raise OutputError(
            f"cannot write {path}: {e.strerror or e}", "Choose another place or free some space"
        ) from e
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all."""
    write_bytes(path, text.encode())
