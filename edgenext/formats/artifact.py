"""An artifact: a deployable file or folder and the manifest beside it, tied together by sha256."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgenext.errors import ArtifactError
from edgenext.formats.format import FORMATS
from edgenext.schema import ExportResult, Manifest
from edgenext.system.files import publish, sha256_file, sha256_tree, staging, tree_size


@dataclass(frozen=True)
class Artifact:
    """A deployable file or folder, checked against its manifest."""

    path: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """The file's name without its ending: how results call the artifact."""
        return self.path.stem

    @property
    def files(self) -> list[Path]:
        """What a stage that makes it leaves: itself, and its manifest."""
        return [self.path, manifest_path(self.path)]

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
            target=m.target,
            form=m.form,
            engine=m.engine,
            warnings=m.warnings,
            conversion=m.conversion,
        )


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """What results call files: the stem, the path where stems are shared, or a count."""
    shared = Counter(path.stem for path in set(paths))
    called = [p.stem if shared[p.stem] == 1 else str(p) for p in paths]
    again = [called[:i].count(name) for i, name in enumerate(called)]
    return [f"{name} ({n + 1})" if n else name for name, n in zip(called, again, strict=True)]


def manifest_path(path: Path) -> Path:
    """Where the manifest of the file at `path` stands."""
    return path.with_name(path.name + ".json")


COMPANIONS = {row.ending: row.companion for row in FORMATS.values() if row.companion}
"""Endings of files that come with a second one, and the ending of that."""


def companion_path(path: Path) -> Path | None:
    """The second file of an artifact that has one."""
    ending = COMPANIONS.get(path.suffix)
    return path.with_suffix(ending) if ending else None


def content_sha256(path: Path) -> str:
    """Hex sha256 of an artifact: of its file, of its folder, or of a file and its companion.

    Raises:
        InputError: a file that is missing or cannot be read.
    """
    beside = companion_path(path)
    if beside is None:
        return sha256_tree(path)
    return hashlib.sha256(f"{sha256_file(path)} {sha256_file(beside)}".encode()).hexdigest()


def content_size(path: Path) -> int:
    """Bytes of everything an artifact consists of."""
    beside = companion_path(path)
    return tree_size(path) + (tree_size(beside) if beside else 0)


@contextmanager
def new_artifact(path: Path) -> Iterator[tuple[Path, Callable[[dict[str, Any]], Artifact]]]:
    """Where to build an artifact, and what describes it; published if the block ends well.

    Yields the staged path of the file or folder, and a function that takes the fields of
    `Manifest` that do not follow from it, writes the manifest and gives the staged artifact.

    Raises:
        OutputError: the folder cannot be written; what stood there before is still there.
    """
    with staging(path) as folder:
        staged = folder / path.name

        def describe(about: dict[str, Any]) -> Artifact:
            manifest = Manifest(
                file=path.name,
                sha256=content_sha256(staged),
                size_bytes=content_size(staged),
                **about,
            )
            manifest_path(staged).write_text(manifest.model_dump_json(indent=2) + "\n")
            return Artifact(staged, manifest)

        yield staged, describe
        publish(folder)


def save_artifact(path: Path, data: bytes, about: dict[str, Any]) -> Artifact:
    """Write a file and its manifest, both or neither; what stood there before stays until then.

    Args:
        path: of the file.
        data: its bytes.
        about: the fields of `Manifest` that do not follow from the two above.

    Raises:
        OutputError: the folder cannot be written.
    """
    with new_artifact(path) as (staged, describe):
        staged.write_bytes(data)
        artifact = describe(about)
    return Artifact(path, artifact.manifest)


HEAD_BYTES = 64
"""What is read of a file to recognise it by the magic bytes of its format."""


def is_artifact(path: Path) -> bool:
    """Whether `path` has a manifest beside it, or is a file or package that should have one.

    The format is told by content.
    """
    if path.exists() and manifest_path(path).is_file():
        return True
    if path.is_dir():
        return any(row.package and (path / row.package).is_file() for row in FORMATS.values())
    if not path.is_file():
        return False
    with path.open("rb") as f:
        head = f.read(HEAD_BYTES)
    return any(
        head[m.offset :].startswith(m.content) for row in FORMATS.values() for m in row.magic
    )


def open_artifact(path: Path) -> Artifact:
    """Open an artifact and prove that its content is what its manifest describes.

    Raises:
        ArtifactError: no file, no manifest, an unreadable manifest, or another content's hash.

    >>> artifact = open_artifact(Path("edgenext_xx_small-32-fp32.onnx"))
    >>> artifact.manifest.format, artifact.manifest.target
    ('onnx', 'cpu-onnxruntime')
    """
    if not path.exists():
        raise ArtifactError(f"no artifact at {path}")
    where = manifest_path(path)
    if not where.is_file():
        raise ArtifactError(
            f"{path} has no manifest {where.name} beside it",
            "Make the file with `edgenext export` or `edgenext quantize`",
        )
    try:
        manifest = Manifest.model_validate_json(where.read_bytes())
    except ValidationError as e:
        first = e.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        raise ArtifactError(f"{where} is not a manifest: {field}: {first['msg']}") from e
    digest = content_sha256(path)
    if digest != manifest.sha256:
        raise ArtifactError(
            f"{path} is not the file of its manifest: sha256 {digest[:12]}…, "
            f"manifest {manifest.sha256[:12]}…",
            "It was changed or truncated after the export: export it again",
        )
    return Artifact(path, manifest)
