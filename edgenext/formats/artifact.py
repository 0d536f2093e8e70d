"""An artifact: a deployable file or folder with its manifest, which records its sha256."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from edgenext.errors import ArtifactError
from edgenext.formats.embedded import described_by
from edgenext.formats.format import FORMATS, Format
from edgenext.models.zoo import MAX_CLASSES, MAX_SIZE
from edgenext.schema import Conversion, ExportResult, Manifest
from edgenext.schema.seal import sealed
from edgenext.system.files import (
    publish,
    sha256_file,
    sha256_tree,
    staging,
    tree_size,
    write_bytes,
)
from edgenext.system.parsing import parse_record, read_record
from edgenext.system.reading import open_file, readable, similar_files
from edgenext.system.sums import own_hash

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Artifact:
    """A deployable file or folder that matches its manifest."""

    path: Path
    """Of the file or folder; its manifest is beside it."""
    manifest: Manifest
    """How it was made, and what it takes and gives."""
    timed: Conversion | None = field(default=None, compare=False)
    """Of a file that was just converted: how long that took, which no manifest says."""

    @property
    def name(self) -> str:
        """The file's name without its ending, by which results refer to the artifact."""
        return self.path.stem

    @property
    def files(self) -> list[Path]:
        """The file or folder itself, its manifest, and the second file of a format that has two."""
        companion = companion_path(self.path)
        files = [self.path, manifest_path(self.path)]
        return files if companion is None else [*files, companion]

    def result(self) -> ExportResult:
        """What `export --json` and `quantize --json` print."""
        m = self.manifest
        return ExportResult(
            artifact=str(self.path),
            manifest=str(manifest_path(self.path)),
            format=m.format,
            scheme=m.scheme,
            sha256=m.sha256,
            size_bytes=m.size_bytes,
            parity=m.parity,
            conversion_parity=m.conversion_parity,
            target=m.target,
            form=m.form,
            engine=m.engine,
            warnings=m.warnings,
            conversion=self.timed or m.conversion,
            features=m.features,
        )


_written: set[str] = set()
"""sha256 of what this process wrote."""


def is_written_here(artifact: Artifact) -> bool:
    """Whether this process wrote the artifact, and ran it to compare it with its network."""
    return artifact.manifest.sha256 in _written


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """A distinct name for each file, numbered if a file is repeated.

    That is its stem; of files with equal stems the end of the path below the folder that they
    share, as short as it can be: names say nothing of where a machine keeps its files.
    """
    by_stem: dict[str, set[Path]] = {}
    for path in paths:
        by_stem.setdefault(path.stem, set()).add(path)
    names = {
        path: name for same in by_stem.values() for path, name in _distinct_ends(list(same)).items()
    }
    return numbered([names[path] for path in paths])


def _distinct_ends(paths: Sequence[Path]) -> dict[Path, str]:
    """Different files of one stem → the shortest ends of their paths that differ."""
    if len(paths) == 1:
        return {paths[0]: paths[0].stem}
    shared = os.path.commonpath([path.absolute().parent for path in paths])
    parts = [path.absolute().relative_to(shared).parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        ends = ["/".join(names[-length:]) for names in parts]
        if len(set(ends)) == len(ends):
            break
    return dict(zip(paths, ends, strict=True))


def numbered(names: Sequence[str]) -> list[str]:
    """The names, with ` (2)`, ` (3)`, … behind repetitions of one."""
    repetitions = [names[:i].count(name) for i, name in enumerate(names)]
    return [f"{name} ({n + 1})" if n else name for name, n in zip(names, repetitions, strict=True)]


def manifest_path(path: Path) -> Path:
    """The path of the manifest of the file at `path`."""
    return path.parent / f"{path.name}.json"


COMPANIONS = {row.ending: row.companion for row in FORMATS.values() if row.companion}
"""Ending of a file that comes with a second one → the ending of the second."""


def companion_path(path: Path) -> Path | None:
    """The path of an artifact's second file; None if its format has none."""
    ending = COMPANIONS.get(path.suffix)
    return path.with_suffix(ending) if ending else None


def content_sha256(path: Path) -> str:
    """Hex sha256 of an artifact: of its file, of its folder, or of a file and its companion.

    Raises:
        InputError: a file that is missing or cannot be read.
    """
    companion = companion_path(path)
    if companion is None:
        return sha256_tree(path)
    return hashlib.sha256(f"{sha256_file(path)} {sha256_file(companion)}".encode()).hexdigest()


def content_files(path: Path) -> dict[str, str]:
    """Name → hex sha256 of the files of an artifact of several; empty for a single file.

    Raises:
        InputError: a file that is missing or cannot be read.
    """
    companion = companion_path(path)
    if path.is_dir():
        files = (p for p in sorted(path.rglob("*")) if p.is_file())
        return {p.relative_to(path).as_posix(): sha256_file(p) for p in files}
    return {p.name: sha256_file(p) for p in (path, companion)} if companion else {}


def content_size(path: Path) -> int:
    """Size in bytes of an artifact's file or folder, a companion included."""
    companion = companion_path(path)
    return tree_size(path) + (tree_size(companion) if companion else 0)


def write_manifest(path: Path, manifest: Manifest) -> Manifest:
    """Write the manifest of the file at `path`: with its own hash, and without times.

    Returns:
        The manifest as it was written.
    """
    if manifest.conversion:
        untimed = manifest.conversion.model_copy(update={"seconds": None, "peak_mb": None})
        manifest = manifest.model_copy(update={"conversion": untimed})
    content = sealed(manifest, "manifest_sha256")
    write_bytes(manifest_path(path), content)
    digest, _ = own_hash(content, "manifest_sha256")
    return manifest.model_copy(update={"manifest_sha256": digest})


def copy_artifact(artifact: Artifact, folder: Path) -> Artifact:
    """A copy in a folder; a manifest that is inside the file is written beside it, too."""
    path = folder / artifact.path.name
    for file in artifact.files:
        if file.is_dir():
            shutil.copytree(file, folder / file.name)
        elif file != manifest_path(artifact.path) or file.is_file():
            shutil.copyfile(file, folder / file.name)
        else:
            write_manifest(path, artifact.manifest)
    return replace(artifact, path=path)


@contextmanager
def new_artifact(path: Path) -> Iterator[tuple[Path, Callable[[dict[str, Any]], Artifact]]]:
    """Build an artifact in a staging folder; it is published if the block ends without an error.

    Yields the staged path of the file or folder, and a function that takes the fields of
    `Manifest` that do not follow from its content, writes the manifest and returns the staged
    artifact.

    Raises:
        OutputError: the folder cannot be written; earlier files are still there.
    """
    with staging(path) as folder:
        staged = folder / path.name

        def describe(fields: dict[str, Any]) -> Artifact:
            manifest = Manifest(
                file=path.name,
                sha256=content_sha256(staged),
                size_bytes=content_size(staged),
                files=content_files(staged),
                **fields,
            )
            _written.add(manifest.sha256)
            return Artifact(staged, write_manifest(staged, manifest), manifest.conversion)

        yield staged, describe
        publish(folder)


def save_artifact(path: Path, data: bytes, fields: dict[str, Any]) -> Artifact:
    """Write a file and its manifest, both or neither; earlier files are replaced at the end.

    Args:
        path: of the file.
        data: its bytes.
        fields: those of `Manifest` that do not follow from the two above.

    Raises:
        OutputError: the folder cannot be written.
    """
    with new_artifact(path) as (staged, describe):
        staged.write_bytes(data)
        artifact = describe(fields)
    return Artifact(path, artifact.manifest)


MANIFEST_VERSION = 1
"""The `schema_version` of manifests that this version reads."""
MAX_ELEMENTS = 1 << 28
"""Numbers in the largest input: 1 GiB in float32."""


def check_manifest(manifest: Manifest, path: Path) -> None:
    """Refuse a manifest by which no file can be run.

    Raises:
        ArtifactError: sizes, shapes, labels or numbers that no network has; the message names the
            field.
    """
    field = next((name for name, valid in _checks(manifest) if not valid), "")
    if field:
        raise ArtifactError(
            f"{path} is not a manifest: {field} is not that of an image network",
            "Export the file again",
        )


def _checks(m: Manifest) -> Iterator[tuple[str, bool]]:
    """Fields of a manifest, and whether each is valid."""
    shape, t = m.input.shape, m.eval
    channels = len(shape) == 4 and 3 in (shape[1], shape[3])
    yield "input.shape", channels and all(n == -1 or n > 0 for n in shape)
    yield "input.shape", math.prod(map(abs, shape)) <= MAX_ELEMENTS
    yield "outputs", bool(m.outputs) and all(bool(output.shape) for output in m.outputs)
    least = 0 if m.features else 1
    yield "num_classes", least <= m.num_classes <= MAX_CLASSES
    yield "features", len(m.features) in (0, len(m.outputs))
    yield "labels", m.labels is None or len(m.labels) == m.num_classes
    yield "class_names", m.class_names is None or len(m.class_names) == m.num_classes
    yield "eval.size", 0 < t.size <= MAX_SIZE
    yield "eval.crop_pct", 0 < t.crop_pct <= 1
    yield "eval.std", min(t.std) > 0
    for name, tensor in (("input", m.input), *(("outputs", output) for output in m.outputs)):
        zero_point, bits = tensor.zero_point or 0, np.dtype(tensor.dtype).itemsize * 8
        yield f"{name}.scale", tensor.scale is None or tensor.scale > 0
        yield f"{name}.zero_point", abs(zero_point) < 1 << bits


HEAD_BYTES = 64
"""Bytes at the start of a file in which the magic bytes of its format are."""


def is_artifact(path: Path) -> bool:
    """Whether `path` has a manifest beside it, or is a file or package that should have one.

    Formats are recognised by content, not by the file's ending.
    """
    if path.exists() and manifest_path(path).is_file():
        return True
    return _format_of(path) is not None


def _format_of(path: Path) -> Format | None:
    """The row of the format that a file's or package's content shows; None if none does."""
    rows = FORMATS.values()
    if path.is_dir():
        return next((row for row in rows if row.package and (path / row.package).is_file()), None)
    if not path.is_file():
        return None
    with open_file(path, ArtifactError) as f:
        head = f.read(HEAD_BYTES)
    return next(
        (row for row in rows for m in row.magic if head[m.offset :].startswith(m.content)), None
    )


def open_artifact(path: str | Path) -> Artifact:
    """Open an artifact and check its content against its manifest.

    Without a manifest beside it, a file is what it says of itself: its parity is then unknown.

    Args:
        path: of the file or folder.

    Raises:
        ArtifactError: no file, no manifest beside or inside it, an unreadable manifest, or another
            sha256.

    >>> artifact = open_artifact(Path("edgenext_xx_small-32-fp32.onnx"))
    >>> artifact.manifest.format, artifact.manifest.target
    ('onnx', 'cpu-onnxruntime')
    """
    path = Path(path)
    if not path.exists():
        raise ArtifactError(f"no artifact at {path}", similar_files(path))
    manifest_file = manifest_path(path)
    if not manifest_file.is_file() and path.is_dir() and not path.suffix:
        raise ArtifactError(
            f"{path} is a folder, not an artifact",
            "Name a file that `edgenext export`, `edgenext quantize` or `edgenext run` made",
        )
    if not os.path.lexists(manifest_file):
        return Artifact(path, _manifest_inside(path))
    manifest = read_record(
        manifest_file, Manifest, "a manifest", error=ArtifactError, version=MANIFEST_VERSION
    )
    check_manifest(manifest, manifest_file)
    digest = content_sha256(path)
    if digest != manifest.sha256:
        raise ArtifactError(
            f"{path} is not the file of its manifest: its sha256 is {digest[:12]}…, "
            f"the manifest has {manifest.sha256[:12]}…",
            "It was changed or truncated after the export: export it again",
        )
    return Artifact(path, manifest)


@cache  # a file that is opened again says nothing new
def _say_inside(path: Path) -> None:
    _log.warning("%s has no manifest beside it: read from the file", path.name)


def _manifest_inside(path: Path) -> Manifest:
    """The manifest of a file that has none beside it, from the file itself.

    Raises:
        ArtifactError: it says nothing of itself, or nothing that can be used.
    """
    row = _format_of(path)
    values = described_by(row, path) if row else None
    if values is None:
        raise ArtifactError(
            f"{path} has no manifest {manifest_path(path).name} beside it, and none inside",
            f"Make the file with `edgenext export`, or take it as it is: edgenext adopt {path}",
        )
    own = {
        "file": path.name,
        "sha256": content_sha256(path),
        "size_bytes": content_size(path),
        "files": content_files(path),
    }
    source = f"the manifest inside {readable(path)} cannot be used"
    manifest = parse_record(json.dumps({**values, **own}), Manifest, source, error=ArtifactError)
    check_manifest(manifest, path)
    _say_inside(path.absolute())
    return manifest
