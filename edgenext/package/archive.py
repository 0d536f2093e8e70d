"""Packages as folders and as zips: written whole or not at all, and read without trust."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from edgenext.errors import ArtifactError, UsageError
from edgenext.schema import ExpectedAnswers
from edgenext.system.files import publish, staging
from edgenext.system.parsing import read_record
from edgenext.system.reading import open_zip, read_member, readable
from edgenext.system.sums import SUMS, write_sums
from edgenext.system.temporary import scratch_folder

EXPECTED = "expected.json"
ZIP = ".zip"
MAX_MEMBERS = 10_000
MAX_BYTES = 1 << 32
"""The most that a zip may have inside: 4 GiB."""


def is_package(path: Path) -> bool:
    """Whether a folder or zip is a package."""
    try:
        if path.is_dir():
            return all((path / name).is_file() for name in (SUMS, EXPECTED))
        if path.suffix.lower() != ZIP or not path.is_file():
            return False
        with open_zip(path) as archive:
            return {SUMS, EXPECTED} <= set(archive.namelist())
    except (ValueError, OSError):
        return False


@contextmanager
def new_package(path: Path) -> Iterator[Path]:
    """A folder to fill; with the sums of its files it becomes a folder or zip at `path`.

    An earlier package is replaced at the end.

    Raises:
        UsageError: something that is no package is there.
        OutputError: it cannot be written; nothing is left behind.
    """
    if path.exists() and not is_package(path) and not _is_empty_folder(path):
        raise UsageError(f"{path} is there and is not a package", "Choose another path with -o")
    with staging(path) as folder:
        content = folder / path.name if path.suffix.lower() != ZIP else folder / "content"
        content.mkdir()
        yield content
        write_sums(content, [content])
        if path.suffix.lower() == ZIP:
            _pack(content, folder / path.name)
            shutil.rmtree(content)
        publish(folder)


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _pack(folder: Path, path: Path) -> None:
    """Write a zip of a folder's files; the same files give the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            info = zipfile.ZipInfo(file.relative_to(folder).as_posix())
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = 0o644 << 16
            archive.writestr(info, file.read_bytes())


@contextmanager
def opened_package(path: Path) -> Iterator[Path]:
    """The folder of a package; of a zip a temporary one.

    Raises:
        ArtifactError: a zip that is damaged or too large, or has a name outside of itself.
    """
    if path.is_dir():
        yield path
        return
    with scratch_folder() as folder:
        try:
            with open_zip(path) as archive:
                _unpack(archive, folder)
        except (ValueError, OSError) as e:
            raise ArtifactError(
                f"{readable(path)} is not a package: {e}", "Make it again, or take it again"
            ) from e
        yield folder


def _unpack(archive: zipfile.ZipFile, folder: Path) -> None:
    """Write the files of a zip into a folder.

    Raises:
        ValueError: a name outside of it, twice or of no plain file; too many, or too much.
        OSError: a file cannot be written.
    """
    members = archive.infolist()
    left = MAX_BYTES
    if len(members) > MAX_MEMBERS:
        raise ValueError(f"it has more than {MAX_MEMBERS:,} files")
    for info in members:
        name = PurePosixPath(info.filename)
        parts = name.parts
        kind = info.external_attr >> 28
        if (
            not parts
            or name.is_absolute()
            or ".." in parts
            or "\\" in info.filename
            or ":" in parts[0]
            or kind not in (0, 4, 8)
        ):
            raise ValueError(f"it has a file called {readable(info.filename)[:80]!r}")
        target = folder / name
        if info.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            continue
        if target.exists():
            raise ValueError(f"it has {readable(name)[:80]!r} twice")
        content = read_member(archive, info, left)
        left -= len(content)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def first_file(folder: Path) -> Path:
    """The first deployment file of a package's folder.

    Raises:
        ArtifactError: the package does not name one that it has.
    """
    names = read_record(
        folder / EXPECTED, ExpectedAnswers, "the answers of a package", error=ArtifactError
    ).files
    name = next(iter(names), "")
    if not name or Path(name).name != name or not (folder / name).exists():
        raise ArtifactError(
            f"{EXPECTED} of {folder.name} does not name a file of the package",
            "Make the package again",
        )
    return folder / name
