"""Files with one changed byte, which `verify` must name; files that say where they were written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgenext import api


@contextmanager
def changed_byte(path: Path, position: int) -> Iterator[None]:
    """A file with one bit of one byte changed; afterwards it is as before."""
    before = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(position)
        file.write(bytes([before[position] ^ 1]))
    try:
        yield
    finally:
        path.write_bytes(before)


def require_named(root: Path, path: Path, positions: int = 1) -> None:
    """Change bytes of a file, one at a time: `verify` names it, or what it says of others.

    Args:
        root: what is verified: a folder, or an artifact.
        path: of a file.
        positions: how many bytes are changed, from the first to the last.
    """
    folder = root if root.is_dir() and not (root / "Manifest.json").is_file() else root.parent
    name, last = path.relative_to(folder).as_posix(), path.stat().st_size - 1
    for i in range(positions):
        position = last // 2 if positions == 1 else last * i // (positions - 1)
        with changed_byte(path, position):
            report = api.verify(root)
        names = {problem.file for problem in report.problems}
        names |= {problem.by for problem in report.problems}
        assert name in names, (name, position, report.problems)


def require_no_path(folder: Path, hidden: Path) -> None:
    """No file in a folder contains the path of another folder, or its name."""
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            for text in (str(hidden), hidden.name):
                assert text.encode() not in content, f"{path.relative_to(folder)} has {text}"
