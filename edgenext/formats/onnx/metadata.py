"""What an ONNX file says of itself: its producer and `metadata_props`.

onnxruntime gives them as `get_modelmeta().custom_metadata_map`. Graphs that are read to make other
files from have none: some tools copy them, and Qualcomm's preprocessing fails on them.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from edgenext.errors import ArtifactError
from edgenext.formats.embedded import AUTHOR, KEY, MAX_FILE_BYTES, properties
from edgenext.system.reading import read_file, readable, reason

if TYPE_CHECKING:
    import onnx

    from edgenext.schema import Manifest


def write(path: Path, manifest: Manifest) -> None:
    """Replace the metadata of a file; entries of this package's other parts stay."""
    import onnx

    model = onnx.ModelProto.FromString(path.read_bytes())
    kept = {p.key: p.value for p in model.metadata_props if p.key.startswith(f"{KEY}.")}
    clear(model)
    model.producer_name, model.producer_version = AUTHOR, version("edgenext")
    for key, value in sorted((kept | properties(manifest)).items()):
        model.metadata_props.add(key=key, value=value)
    path.write_bytes(model.SerializeToString(deterministic=True))


def clear(model: onnx.ModelProto) -> None:
    """Remove what a file says of itself from its graph."""
    del model.metadata_props[:]
    model.producer_version = ""


def read(path: Path) -> str | None:
    """The manifest's JSON in a file; None if there is none.

    Raises:
        ArtifactError: the file cannot be read, or is not ONNX.
    """
    import onnx

    content = read_file(path, ArtifactError, MAX_FILE_BYTES)
    try:
        model = onnx.ModelProto.FromString(content)
    except Exception as e:  # protobuf's implementations differ in their exceptions
        raise ArtifactError(f"{readable(path)} is not an ONNX file: {reason(e)}") from e
    return next((p.value for p in model.metadata_props if p.key == KEY), None)
