"""Hashes of files: `SHA256SUMS` of a folder, and the hash that a JSON record has of itself.

`SHA256SUMS` is what `sha256sum --check SHA256SUMS` reads: anybody can check a folder without this
package. A record's own hash is of its file with that hash left empty.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from edgenext.errors import InputError
from edgenext.system.files import sha256_file, write_bytes
from edgenext.system.reading import read_file

SUMS = "SHA256SUMS"

_LINE = re.compile(rb"(\\?)([0-9a-f]{64})  ([^\n\r]+)")
_ESCAPES = {b"\\": b"\\\\", b"\n": b"\\n", b"\r": b"\\r"}


def write_sums(folder: Path, files: Iterable[Path], *, keep: bool = False) -> None:
    """Write the hashes of files as they are now.

    Args:
        folder: of `SHA256SUMS`.
        files: in the folder; of a folder, all files in it.
        keep: leave the lines of other files as they are. A damaged `SHA256SUMS` stays.

    Raises:
        OutputError: it cannot be written.
        InputError: a file cannot be read.
    """
    sums: dict[str, str] = {}
    if keep and (folder / SUMS).is_file():
        try:
            sums = read_sums(folder)
        except InputError:
            return
    for path in files:
        for file in sorted(path.rglob("*")) if path.is_dir() else (path,):
            if file.is_file():
                sums[file.relative_to(folder).as_posix()] = sha256_file(file)
    lines = [_line(name, digest) for name, digest in sorted(sums.items())]
    write_bytes(folder / SUMS, b"".join(lines))


def read_sums(folder: Path) -> dict[str, str]:
    """File name, relative to the folder → hex sha256, as `SHA256SUMS` has them.

    Raises:
        InputError: it cannot be read, or has a line of another kind.
    """
    path = folder / SUMS
    content = read_file(path)
    sums: dict[str, str] = {}
    lines = content.split(b"\n")
    if lines.pop():
        raise InputError(f"{path} ends in the middle of a line")
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        name = match and os.fsdecode(_unescaped(match[3]) if match[1] else match[3])
        if match is None or not name or name in sums or not _is_inside(name):
            raise InputError(f"line {number} of {path} is not a hash and the name of a file")
        sums[name] = match[2].decode()
    return sums


def _is_inside(name: str) -> bool:
    """Whether a name is of a file in the folder or below."""
    return not Path(name).is_absolute() and ".." not in name.split("/")


def _line(name: str, digest: str) -> bytes:
    """As coreutils writes it: a name with a backslash or a line break is escaped."""
    encoded = os.fsencode(name)
    escaped = re.sub(rb"[\\\n\r]", lambda m: _ESCAPES[m[0]], encoded)
    mark = b"\\" if escaped != encoded else b""
    return mark + digest.encode() + b"  " + escaped + b"\n"


def _unescaped(name: bytes) -> bytes:
    back = {escaped: plain for plain, escaped in _ESCAPES.items()}
    return re.sub(rb"\\.", lambda m: back.get(m[0], m[0]), name)


def own_hash(content: bytes, key: str) -> tuple[str, str]:
    """The hash that a JSON record has of itself, and the one that it should have.

    Args:
        content: of the file.
        key: of the hash in it.

    Returns:
        The recorded hash, empty if there is none; the sha256 of the content with it left empty.
    """
    field = re.compile(rb'("' + key.encode() + rb'": ")([0-9a-f]{64})(")')
    matches = field.findall(content)
    recorded = matches[0][1].decode() if len(matches) == 1 else ""
    return recorded, hashlib.sha256(field.sub(rb"\1\3", content)).hexdigest()
