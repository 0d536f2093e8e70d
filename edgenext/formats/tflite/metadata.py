"""TFLite metadata: the normalisation of images, the names of classes and the manifest, for apps.

The layout is that of TensorFlow's metadata schema (tflite-support, `metadata_schema.fbs`), which
Android's and MediaPipe's readers use: a flatbuffer in the file, and a zip of files behind it.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np

from edgenext.errors import ArtifactError
from edgenext.formats.embedded import AUTHOR, KEY, LICENSE, embedded_manifest
from edgenext.formats.session import output_names
from edgenext.schema import Manifest
from edgenext.system.reading import (
    TEXT_BYTES,
    open_file,
    open_zip,
    read_member,
    readable,
    reason,
)

NAME = "TFLITE_METADATA"
IDENTIFIER = b"M001"
LABELS = "labels.txt"
MANIFEST = f"{KEY}.json"

NORMALISATION, IMAGE = 1, 2
"""Members of the unions of process units' options and of tensors' contents."""
RGB, DESCRIPTIONS, AXIS_LABELS = 1, 1, 2
"""Members of the enumerations of colour spaces and of associated files."""


def finish(path: Path, manifest: Manifest) -> None:  # noqa: ARG001 - as every `finish`
    """Name the input and outputs of a converted file, which has one input.

    The outputs are logits or feature maps.
    """
    model = _model(path)
    signature = model.signatureDefs[0]
    signature.inputs[0].name = "image"
    results = sorted(signature.outputs, key=lambda output: output.name)
    for output, name in zip(results, output_names(len(results)), strict=True):
        output.name = name
    path.write_bytes(_packed(model))


def write(path: Path, manifest: Manifest) -> None:
    """Add metadata to a file whose input and outputs are named, and the files that it names.

    They are the class names, if they are known, and the manifest.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = _model(path)
    named = {output.tensorIndex: output.name for output in model.signatureDefs[0].outputs}
    outputs = [named[index].decode() for index in model.subgraphs[0].outputs]
    labels = manifest.shown_names
    metadata = schema.BufferT()
    metadata.data = np.frombuffer(_metadata(manifest, outputs, bool(labels)), np.uint8)
    entry = schema.MetadataT()
    entry.name, entry.buffer = NAME, len(model.buffers)
    model.buffers.append(metadata)
    model.metadata = [*(model.metadata or []), entry]
    files = {LABELS: "".join(f"{_line(label)}\n" for label in labels)} if labels else {}
    files[MANIFEST] = embedded_manifest(manifest)
    path.write_bytes(_packed(model) + _zipped(files))


def read(path: Path) -> str | None:
    """The manifest's JSON in a file; None if there is none.

    Raises:
        ArtifactError: the file cannot be read, or is damaged.
    """
    with open_file(path, ArtifactError) as file:
        try:
            archive = open_zip(file)
        except ValueError:  # a file without any associated files
            return None
        try:
            if MANIFEST not in archive.namelist():
                return None
            return read_member(archive, archive.getinfo(MANIFEST), TEXT_BYTES).decode()
        except ValueError as e:  # a UnicodeDecodeError is one
            raise ArtifactError(f"{readable(path)} is damaged: {reason(e)}") from e


def _model(path: Path) -> Any:
    """The content of a file, as objects."""
    from ai_edge_litert import schema_py_generated as schema

    content = path.read_bytes()
    model = schema.ModelT.InitFromPackedBuf(bytearray(content), 0)
    for buffer in model.buffers:  # some writers put constants behind the flatbuffer
        if buffer.offset > 1:
            end = buffer.offset + buffer.size
            buffer.data = np.frombuffer(content[buffer.offset : end], np.uint8)
            buffer.offset = buffer.size = 0
    return model


def _packed(model: Any) -> bytes:
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _line(label: str) -> str:
    """A label on one line: readers divide the file at line breaks."""
    return " ".join(label.splitlines())


def _zipped(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return buffer.getvalue()


def _metadata(manifest: Manifest, outputs: Sequence[str], labels: bool) -> bytes:
    """The flatbuffer of a file's metadata; a file that takes pixels normalises them itself."""
    b = flatbuffers.Builder()
    transform, pixels = manifest.eval, manifest.input.dtype == "uint8"
    size = _table(b, 2, [(0, "uint32", transform.size), (1, "uint32", transform.size)])
    image = _table(b, 2, [(0, "int8", RGB), (1, "offset", size)])
    content = _table(b, 3, [(0, "uint8", IMAGE), (1, "offset", image)])
    mean = _floats(b, [255 * m for m in transform.mean] if not pixels else [0.0])
    std = _floats(b, [255 * s for s in transform.std] if not pixels else [1.0])
    options = _table(b, 2, [(0, "offset", mean), (1, "offset", std)])
    unit = _table(b, 2, [(0, "uint8", NORMALISATION), (1, "offset", options)])
    source = _tensor(b, "image", [(3, "offset", content), (4, "offset", _offsets(b, [unit]))])
    files = [(6, "offset", _offsets(b, [_file(b, LABELS, AXIS_LABELS)]))] if labels else []
    results = [_tensor(b, output, files) for output in outputs]
    sources, written = _offsets(b, [source]), _offsets(b, results)
    graph = _table(b, 10, [(2, "offset", sources), (3, "offset", written)])
    about = (manifest.arch, f"{manifest.arch}, {manifest.scheme}", version("edgenext"))
    texts = [*about, AUTHOR, LICENSE]
    slots = [
        (i, "offset", b.CreateString(text)) for i, text in zip((0, 1, 2, 4, 5), texts, strict=True)
    ]
    graphs, described = _offsets(b, [graph]), _offsets(b, [_file(b, MANIFEST, DESCRIPTIONS)])
    model = _table(b, 8, [*slots, (3, "offset", graphs), (6, "offset", described)])
    b.Finish(model, IDENTIFIER)
    return bytes(b.Output())


def _file(b: Any, name: str, kind: int) -> int:
    return _table(b, 5, [(0, "offset", b.CreateString(name)), (2, "int8", kind)])


def _tensor(b: Any, name: str, slots: list[tuple[int, str, int]]) -> int:
    return _table(b, 7, [(0, "offset", b.CreateString(name)), *slots])


def _table(b: Any, fields: int, slots: list[tuple[int, str, int]]) -> int:
    """A table with a number of fields, from the (field number, type, value) of those it has."""
    b.StartObject(fields)
    for number, kind, value in slots:
        put = {
            "offset": b.PrependUOffsetTRelativeSlot,
            "uint32": b.PrependUint32Slot,
            "int8": b.PrependInt8Slot,
            "uint8": b.PrependUint8Slot,
        }[kind]
        put(number, value, 0)
    return int(b.EndObject())


def _offsets(b: Any, offsets: list[int]) -> int:
    b.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        b.PrependUOffsetTRelative(offset)
    return int(b.EndVector())


def _floats(b: Any, values: list[float]) -> int:
    b.StartVector(4, len(values), 4)
    for value in reversed(values):
        b.PrependFloat32(value)
    return int(b.EndVector())
