"""TFLite metadata: the normalisation of images and the names of classes, for apps.

The layout is that of TensorFlow's metadata schema (tflite-support, `metadata_schema.fbs`), which
Android's and MediaPipe's readers use: a flatbuffer in the file, and the labels as a zip behind it.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np

from edgenext.formats.session import output_names
from edgenext.schema import EvalTransform, Manifest

NAME = "TFLITE_METADATA"
IDENTIFIER = b"M001"
LABELS = "labels.txt"

NORMALISATION, IMAGE = 1, 2
"""Members of the unions of process units' options and of tensors' contents."""
RGB, AXIS_LABELS = 1, 2
"""Members of the enumerations of colour spaces and of associated files."""


def add_metadata(
    path: Path, name: str, transform: EvalTransform, labels: Sequence[str] | None, pixels: bool
) -> None:
    """Add metadata to a file, and name its input and outputs.

    Args:
        path: of a .tflite file with one input, and logits or feature maps as its outputs; it is
            rewritten.
        name: of the model.
        transform: the preprocessing of images.
        labels: of the classes, if they are known.
        pixels: the file takes pixels of 0–255, without normalisation.
    """
    from ai_edge_litert import schema_py_generated as schema

    content = path.read_bytes()
    model = schema.ModelT.InitFromPackedBuf(bytearray(content), 0)
    for buffer in model.buffers:  # some writers put constants behind the flatbuffer
        if buffer.offset > 1:
            end = buffer.offset + buffer.size
            buffer.data = np.frombuffer(content[buffer.offset : end], np.uint8)
            buffer.offset = buffer.size = 0
    signature = model.signatureDefs[0]
    signature.inputs[0].name = "image"
    results = sorted(signature.outputs, key=lambda output: output.name)
    for output, result in zip(results, output_names(len(results)), strict=True):
        output.name = result
    named = {output.tensorIndex: output.name for output in results}
    outputs = [named[index] for index in model.subgraphs[0].outputs]
    metadata = schema.BufferT()
    metadata.data = list(_metadata(name, transform, outputs, bool(labels), pixels))
    entry = schema.MetadataT()
    entry.name, entry.buffer = NAME, len(model.buffers)
    model.buffers.append(metadata)
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()) + (_zipped(labels) if labels else b""))


def finish(path: Path, manifest: Manifest) -> None:
    """Add metadata to a converted file, from its manifest."""
    pixels = manifest.input.dtype == "uint8"
    add_metadata(path, manifest.arch, manifest.eval, manifest.shown_names, pixels)


def _zipped(labels: Sequence[str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo(LABELS), "".join(f"{label}\n" for label in labels))
    return buffer.getvalue()


def _metadata(
    name: str, transform: EvalTransform, outputs: Sequence[str], labels: bool, pixels: bool
) -> bytes:
    b = flatbuffers.Builder()
    size = _table(b, 2, [(0, "uint32", transform.size), (1, "uint32", transform.size)])
    image = _table(b, 2, [(0, "int8", RGB), (1, "offset", size)])
    content = _table(b, 3, [(0, "uint8", IMAGE), (1, "offset", image)])
    mean = _floats(b, [255 * m for m in transform.mean] if not pixels else [0.0])
    std = _floats(b, [255 * s for s in transform.std] if not pixels else [1.0])
    options = _table(b, 2, [(0, "offset", mean), (1, "offset", std)])
    unit = _table(b, 2, [(0, "uint8", NORMALISATION), (1, "offset", options)])
    source = _tensor(b, "image", [(3, "offset", content), (4, "offset", _offsets(b, [unit]))])
    files = []
    if labels:
        file_name = b.CreateString(LABELS)
        file = _table(b, 5, [(0, "offset", file_name), (2, "int8", AXIS_LABELS)])
        files = [(6, "offset", _offsets(b, [file]))]
    results = [_tensor(b, output, files) for output in outputs]
    sources, written = _offsets(b, [source]), _offsets(b, results)
    graph = _table(b, 10, [(2, "offset", sources), (3, "offset", written)])
    title, graphs = b.CreateString(name), _offsets(b, [graph])
    model = _table(b, 8, [(0, "offset", title), (3, "offset", graphs)])
    b.Finish(model, IDENTIFIER)
    return bytes(b.Output())


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
