"""What a Core ML package says of itself: the description that Xcode and apps show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenext.errors import ArtifactError
from edgenext.formats.coreml.program import preload, root_path
from edgenext.formats.embedded import AUTHOR, KEY, LICENSE, properties
from edgenext.system.reading import read_file, readable, reason

if TYPE_CHECKING:
    from edgenext.schema import Manifest

MAX_BYTES = 1 << 28
"""The largest specification: weights are in another file."""


def write(package: Path, manifest: Manifest) -> None:
    """Write author, license, version, labels and the manifest into a package."""
    path, spec = _specification(package)
    about = spec.description.metadata
    values = properties(manifest)
    about.shortDescription = f"{manifest.arch}, {manifest.scheme}"
    about.author, about.license, about.versionString = AUTHOR, LICENSE, values["version"]
    for key, value in values.items():
        about.userDefined[key] = value
    if manifest.input.dtype == "uint8" and not manifest.is_backbone:
        about.userDefined["com.apple.coreml.model.preview.type"] = "imageClassifier"
    path.write_bytes(spec.SerializeToString(deterministic=True))


def read(package: Path) -> str | None:
    """The manifest's JSON in a package; None if there is none.

    Raises:
        ArtifactError: it is not a package.
        MissingDependencyError: coremltools is not installed.
    """
    _, spec = _specification(package)
    text: str | None = dict(spec.description.metadata.userDefined).get(KEY)
    return text


def _specification(package: Path) -> tuple[Path, Any]:
    """The path of a package's specification, and its message."""
    proto = preload().proto
    path = package / "Data" / root_path(package)
    content = read_file(path, ArtifactError, MAX_BYTES)
    try:
        return path, proto.Model_pb2.Model.FromString(content)
    except Exception as e:  # protobuf's implementations differ in their exceptions
        raise ArtifactError(f"{readable(path)} is not a Core ML model: {reason(e)}") from e
