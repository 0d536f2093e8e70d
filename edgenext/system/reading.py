"""Reading files of a user or a device, whatever they are and whatever they contain.

Everything here ends in one clean error, and is bounded in time and memory: only regular files are
opened, so that a FIFO or a device never blocks, and never more than a limit is read.
"""

from __future__ import annotations

import difflib
import os
import stat
import zipfile
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import IO

from edgenext.errors import EdgenextError, InputError

TEXT_BYTES = 1 << 27
"""The largest JSON and text that is read: an hour of latencies takes 70 MB."""
EXPANDING = (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
"""Compressions that expand a piece of any size at once."""
PIECE = 4096
"""Bytes of an expanding zip member that are read at once: they become 80 MB at most."""

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
"""Kinds of files that cannot be read to an end."""


def open_file(path: Path, error: type[EdgenextError] = InputError) -> BufferedReader:
    """Open a regular file for reading; links are followed.

    Args:
        path: of the file.
        error: the class of the error.

    Raises:
        EdgenextError: of class `error`: it does not exist, cannot be read, or is a folder, a FIFO,
            a device or a socket.
    """
    try:
        _require_regular(Path(path).stat().st_mode)
        # Without blocking: the file may have been replaced by a FIFO since.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        file = os.fdopen(descriptor, "rb")
        try:
            _require_regular(os.fstat(descriptor).st_mode)
        except OSError:
            file.close()
            raise
    except (OSError, ValueError) as e:
        remedy = similar_files(Path(path)) if isinstance(e, FileNotFoundError) else ""
        raise error(f"cannot read {readable(path)}: {reason(e)}", remedy) from e
    return file


def similar_files(path: Path) -> str:
    """A question that names the nearest files beside one that does not exist; empty without any.

    >>> Path("network.onnx").touch()
    >>> similar_files(Path("netwrok.onnx"))
    'Did you mean network.onnx?'
    """
    try:
        names = [file.name for file in path.parent.iterdir() if not file.name.startswith(".")]
        if path.suffix != ".json":  # a manifest is not meant
            names = [name for name in names if not name.endswith(".json")]
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, names, n=2, cutoff=0.7)
    files = " or ".join(readable(path.with_name(name)) for name in near)
    return f"Did you mean {files}?" if files else ""


def _require_regular(mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise OSError(f"it is {KINDS.get(stat.S_IFMT(mode), 'not a file')}")


def reason(error: Exception) -> str:
    """The reason in an `OSError`, or in the `ValueError` of a path with a NUL, on one line."""
    text = (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
    return " ".join(text.split())


def read_file(
    path: Path, error: type[EdgenextError] = InputError, limit: int = TEXT_BYTES
) -> bytes:
    """The bytes of a regular file.

    Raises:
        EdgenextError: of class `error`: see `open_file`; or the file has more than `limit` bytes.
    """
    parts, size = [], 0
    with open_file(path, error) as file:
        try:
            while part := file.read(1 << 20):
                parts.append(part)
                size += len(part)
                if size > limit:
                    raise error(f"{readable(path)} is larger than {size_text(limit)}")
        except OSError as e:
            raise error(f"cannot read {readable(path)}: {reason(e)}") from e
    return b"".join(parts)


def size_text(size: int) -> str:
    """A number of bytes, in MiB or KiB."""
    return f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"


def readable(name: object) -> str:
    r"""A name that can be printed and written: bytes of it that are not UTF-8 as `\udcff`."""
    return str(name).encode("utf-8", "backslashreplace").decode()


def read_text(path: Path, error: type[EdgenextError] = InputError, limit: int = TEXT_BYTES) -> str:
    """The UTF-8 text of a regular file, without a byte order mark.

    Raises:
        EdgenextError: of class `error`: see `read_file`; or it is not UTF-8.
    """
    try:
        return read_file(path, error, limit).decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise error(f"{readable(path)} is not UTF-8 text") from e


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int) -> bytes:
    """The bytes of a member of a zip.

    Raises:
        ValueError: it is encrypted, damaged, compressed in a way that is not supported, or has more
            than `limit` bytes.
    """
    if info.file_size > limit:
        raise ValueError(f"larger than {size_text(limit)} when inflated")
    try:
        with archive.open(info) as file:
            parts = _pieces(file, info.compress_type in EXPANDING)
            return b"".join(parts)
    except Exception as e:  # a damaged member can make zipfile and its decompressors raise anything
        raise ValueError(reason(e)) from e


def _pieces(file: IO[bytes], expanding: bool) -> Iterator[bytes]:
    size = PIECE if expanding else 1 << 20
    while piece := file.read(size):
        yield piece


def open_zip(file: Path | IO[bytes]) -> zipfile.ZipFile:
    """A zip, open for reading.

    Raises:
        ValueError: it is not a zip, or its directory is damaged.
        OSError: it cannot be read.
    """
    try:
        return zipfile.ZipFile(file)
    except OSError:
        raise
    except Exception as e:  # a damaged directory can make zipfile raise anything
        raise ValueError(reason(e)) from e
