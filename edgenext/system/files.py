"""Files: hashing, the cache folder, and writing that either completes or changes nothing."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from edgenext.errors import InputError, OutputError
from edgenext.system.reading import KINDS, open_file
from edgenext.system.temporary import temporary_file, temporary_folder


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
    """A folder in the cache.

    The cache is `cache_dir`, else $EDGENEXT_CACHE, else the folder edgenext in $XDG_CACHE_HOME or
    ~/.cache.
    """
    root = cache_dir or os.environ.get("EDGENEXT_CACHE")
    return (Path(root) if root else user_folder("XDG_CACHE_HOME", "~/.cache")) / name


def user_folder(variable: str, default: str) -> Path:
    """This package's folder in a base directory of the user.

    Args:
        variable: of the base directory. Unless it is an absolute path it is ignored, as the XDG
            Base Directory Specification demands.
        default: the base directory without the variable.
    """
    base = Path(os.environ.get(variable, ""))
    return (base if base.is_absolute() else Path(default).expanduser()) / "edgenext"


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder, renamed to `path` when the block succeeds.

    The file is fsynced before it is renamed; after any error, Ctrl-C included, it is removed.
    A symbolic link stays, and the file that it names is written. What killed processes have left
    in the folder is removed. Only write in the block: every `OSError` in it is reported as a
    failure to write.

    Raises:
        OutputError: any `OSError` in the block, such as a full disk or missing permission; a
            device, pipe or socket at `path`, which is never replaced.
    """
    with _output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        target = output_path(path)
        if target.is_dir():  # fail before anything is written, not at the rename
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with temporary_file(target) as temporary:
            yield temporary
            _sync(temporary)
            temporary.replace(target)


@contextlib.contextmanager
def staging(path: Path) -> Iterator[Path]:
    """A hidden folder beside `path` for files that are published together or not at all.

    `publish` moves files out of it; the folder is always removed at the end.

    Raises:
        OutputError: any `OSError` in the block, or a device, pipe or socket at `path`, as with
            `atomic_path`.
    """
    with _output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        output_path(path)  # fail before anything is made, not when it is published
        with temporary_folder(path) as folder:
            yield folder


def publish(staged: Path) -> None:
    """Move everything in a staging folder to its parent folder, fsynced.

    Files and folders of the same names are replaced; of a symbolic link, what it names.

    Raises:
        OutputError: a file would replace a folder or a folder a file, or either something else
            such as a device; nothing is moved.
    """
    moves = [
        (source, output_path(staged.parent / source.name)) for source in sorted(staged.iterdir())
    ]
    for source, target in moves:
        if target.exists() and target.is_dir() != source.is_dir():
            code = errno.EISDIR if target.is_dir() else errno.ENOTDIR
            raise OutputError(
                f"cannot write {target}: {os.strerror(code)}", "Choose another path or remove it"
            )
    for source, target in moves:
        move_to(source, target, linked=target.parent != staged.parent)


def move_to(source: Path, target: Path, *, linked: bool) -> None:
    """Rename a complete file or folder, fsynced, to a target of the same kind.

    Args:
        source: on the disk of `target`, unless that is `linked`; an older folder is left beside it.
        target: see `output_path`.
        linked: whether the target is behind a symbolic link, perhaps on another disk.

    Raises:
        OSError: it cannot be moved.
    """
    if linked:
        with temporary_folder(target) as beside:
            move_to(Path(shutil.move(source, beside / source.name)), target, linked=False)
            return
    for file in source.rglob("*") if source.is_dir() else (source,):
        if file.is_file():
            _sync(file)
    if target.is_dir():  # a folder cannot be renamed onto another
        target.replace(source.with_name(f"{source.name}.old"))
    source.replace(target)


def output_path(path: Path) -> Path:
    """Where writing to `path` writes: `path` itself, or what it names as a symbolic link.

    Raises:
        OutputError: something that is no file and no folder is there.
        OSError: it cannot be known, as of links that lead in a circle.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = stat.S_IFREG
    kind = "" if stat.S_ISDIR(mode) else KINDS.get(stat.S_IFMT(mode), "")
    if _is_descriptor(path):
        kind = kind or "an open file of a process"
    if kind:
        raise OutputError(f"cannot write {path}: it is {kind}, not a file", "Choose another path")
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _is_descriptor(path: Path) -> bool:
    """Whether a path is /dev/stdout or alike: its process would not see that it is replaced."""
    folders = [path.parent]
    if path.is_symlink():
        folders.append(path.parent / path.readlink().parent)
    return any(re.fullmatch(r"/proc/\d+/fd|/dev/fd", os.path.realpath(f)) for f in folders)


@contextlib.contextmanager
def _output_errors(path: Path) -> Iterator[None]:
    """Raise every `OSError` as an `OutputError` about a path."""
    try:
        yield
    except OSError as e:
        raise OutputError(
            f"cannot write {path}: {e.strerror or e}", "Choose another folder or free some space"
        ) from e


def _sync(file: Path) -> None:
    with file.open("rb+") as f:
        os.fsync(f.fileno())


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
