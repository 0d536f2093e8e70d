"""Files: hashing, the cache folder, and writing that either completes or changes nothing."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from edgenext.errors import InputError, OutputError
from edgenext.system.reading import open_file


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file's bytes.

    Raises:
        InputError: the file cannot be read.
    """
    with open_file(path) as f:
        try:
            return hashlib.file_digest(f, "sha256").hexdigest()
        except OSError as e:
            raise InputError(f"cannot read {path}: {e.strerror}") from e


def sha256_tree(path: Path) -> str:
    """Hex sha256 of a file's bytes, or of the names and hashes of a folder's files.

    Raises:
        InputError: a file cannot be read.
    """
    if not path.is_dir():
        return sha256_file(path)
    names = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
    lines = "".join(f"{sha256_file(path / name)}  {name}\n" for name in names)
    return hashlib.sha256(lines.encode()).hexdigest()


def tree_size(path: Path) -> int:
    """Size in bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(p.stat().st_size for p in files if p.is_file())


def cache_folder(name: str, cache_dir: Path | None = None) -> Path:
    """A folder in the cache: `cache_dir`, else $EDGENEXT_CACHE, else ~/.cache/edgenext."""
    root = cache_dir or os.environ.get("EDGENEXT_CACHE") or Path("~/.cache/edgenext").expanduser()
    return Path(root) / name


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder, renamed to `path` when the block succeeds.

    The file is fsynced before it is renamed; after any error, Ctrl-C included, it is removed.
    Only write in the block: every `OSError` in it is reported as a failure to write.

    Raises:
        OutputError: any `OSError` in the block, such as a full disk or missing permission.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():  # fail before anything is written, not at the rename
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        yield temporary
        with temporary.open("rb+") as f:
            os.fsync(f.fileno())
        temporary.replace(path)
    except OSError as e:
        raise OutputError(
            f"cannot write {path}: {e.strerror or e}", "Choose another folder or free some space"
        ) from e
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def staging(path: Path) -> Iterator[Path]:
    """A hidden folder beside `path` for files that are published together or not at all.

    `publish` moves files out of it; the folder is always removed at the end.

    Raises:
        OutputError: any `OSError` in the block, as with `atomic_path`.
    """
    folder = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        folder.mkdir(parents=True)
        yield folder
    except OSError as e:
        raise OutputError(
            f"cannot write {path}: {e.strerror or e}", "Choose another folder or free some space"
        ) from e
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(staged: Path) -> None:
    """Move everything in a staging folder to its parent folder, fsynced.

    Files and folders of the same names are replaced.

    Raises:
        OutputError: a file would replace a folder or a folder a file; nothing is moved.
    """
    moves = [(source, staged.parent / source.name) for source in sorted(staged.iterdir())]
    for source, target in moves:
        if target.exists() and target.is_dir() != source.is_dir():
            code = errno.EISDIR if target.is_dir() else errno.ENOTDIR
            raise OutputError(
                f"cannot write {target}: {os.strerror(code)}", "Choose another path or remove it"
            )
    for source, target in moves:
        for file in source.rglob("*") if source.is_dir() else (source,):
            if file.is_file():
                with file.open("rb+") as f:
                    os.fsync(f.fileno())
        if target.is_dir():  # a folder cannot be renamed onto another
            target.replace(staged / f"{source.name}.old")
        source.replace(target)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically.

    Raises:
        OutputError: it cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically.

    Raises:
        OutputError: it cannot be written.
    """
    write_bytes(path, text.encode())
