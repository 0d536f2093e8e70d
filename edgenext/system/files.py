"""Writing and hashing files: whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import tomllib
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from edgenext.errors import InputError, OutputError

Row = TypeVar("Row")


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


def packaged_toml(package: str, name: str) -> dict[str, Any]:
    """A TOML file that lies in a package beside its code."""
    return tomllib.loads(resources.files(package).joinpath(name).read_text("utf-8"))


def packaged_folders(package: str, name: str) -> dict[str, dict[str, Any]]:
    """The TOML files called `name` in the folders of a package, by folder."""
    folders = sorted(resources.files(package).iterdir(), key=lambda folder: folder.name)
    return {
        folder.name: tomllib.loads(file.read_text("utf-8"))
        for folder in folders
        if folder.is_dir() and (file := folder.joinpath(name)).is_file()
    }


def packaged_rows(package: str, name: str, kind: Callable[..., Row]) -> dict[str, Row]:
    """The tables of such a file by name, each made a `kind` from its keys."""
    return {row: kind(**values) for row, values in packaged_toml(package, name).items()}


def sha256_tree(path: Path) -> str:
    """Hex sha256 of a file's bytes, or of a folder's file names and their hashes.

    Raises:
        InputError: a file that cannot be read.
    """
    if not path.is_dir():
        return sha256_file(path)
    names = sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())
    lines = "".join(f"{sha256_file(path / name)}  {name}\n" for name in names)
    return hashlib.sha256(lines.encode()).hexdigest()


def tree_size(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(p.stat().st_size for p in files if p.is_file())


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


@contextlib.contextmanager
def staging(path: Path) -> Iterator[Path]:
    """A hidden folder beside `path` for files that will be published together, or not at all.

    It is removed at the end, whatever happened; `publish` moves files out of it. As with
    `atomic_path`, any `OSError` in the block ends as `OutputError`.
    """
    folder = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        folder.mkdir(parents=True)
        yield folder
    except OSError as e:
        raise OutputError(
            f"cannot write {path}: {e.strerror or e}", "Choose another place or free some space"
        ) from e
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(staged: Path) -> None:
    """Move everything in a staging folder to where that folder stands, fsynced.

    It takes the place of what has the same name.

    Raises:
        OutputError: a file stands where a folder should, or the other way round, and nothing is
            moved; or the disk fails.
    """
    moves = [(source, staged.parent / source.name) for source in sorted(staged.iterdir())]
    for source, target in moves:
        if target.exists() and target.is_dir() != source.is_dir():
            what = errno.EISDIR if target.is_dir() else errno.ENOTDIR
            raise OutputError(
                f"cannot write {target}: {os.strerror(what)}", "Choose another place or remove it"
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
    """Write a file whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all."""
    write_bytes(path, text.encode())
