"""An artifact: a deployable file and the manifest beside it, tied together by sha256."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgenext.errors import ArtifactError
from edgenext.files import atomic_path, sha256_file
from edgenext.schema import ExportResult, Manifest


@dataclass(frozen=True)
class Artifact:
    """A deployable file, checked against its manifest."""

    path: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        """The file's name without its ending: how results call the artifact."""
        return self.path.stem

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


def save_artifact(path: Path, data: bytes, about: dict[str, Any]) -> Artifact:
    """Write a file and its manifest, both or neither; what stood there before stays until then.

    Args:
        path: of the file.
        data: its bytes.
        about: the fields of `Manifest` that do not follow from the two above.

    Raises:
        OutputError: the folder cannot be written.
    """
    digest = hashlib.sha256(data).hexdigest()
    manifest = Manifest(file=path.name, sha256=digest, size_bytes=len(data), **about)
    with atomic_path(manifest_path(path)) as beside, atomic_path(path) as temporary:
        beside.write_text(manifest.model_dump_json(indent=2) + "\n")
        temporary.write_bytes(data)
    return Artifact(path, manifest)


def is_artifact(path: Path) -> bool:
    """Whether `path` is a file with a manifest beside it, or the ONNX file it should have one for.

    The format is told by content: an ONNX protobuf starts with its ir_version field.
    """
    if not path.is_file():
        return False
    if manifest_path(path).is_file():
        return True
    with path.open("rb") as f:
        return f.read(2) in (b"\x08\x07", b"\x08\x08", b"\x08\x09", b"\x08\x0a", b"\x08\x0b")


def open_artifact(path: Path) -> Artifact:
    """Open an artifact and prove that the file is the one its manifest describes.

    Raises:
        ArtifactError: no file, no manifest, an unreadable manifest, or another file's hash.
    """
    if not path.is_file():
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
    digest = sha256_file(path)
    if digest != manifest.sha256:
        raise ArtifactError(
            f"{path} is not the file of its manifest: sha256 {digest[:12]}…, "
            f"manifest {manifest.sha256[:12]}…",
            "It was changed or truncated after the export: export it again",
        )
    return Artifact(path, manifest)
