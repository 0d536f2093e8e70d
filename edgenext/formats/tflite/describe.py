"""What a TFLite file that others made says of itself, its metadata included."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from flatbuffers.table import Table

from edgenext.formats.foreign import BYTE, ForeignFile, ImageFacts, Port, of_three
from edgenext.formats.tflite.metadata import AXIS_LABELS, NAME, NORMALISATION
from edgenext.formats.tflite.session import plain_interpreter
from edgenext.models.zoo import MAX_CLASSES
from edgenext.system.reading import open_zip, read_file, read_member

MAX_BYTES = 1 << 31
"""The largest flatbuffer."""
LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
"""Operators whose results say in what a network computes."""
LABEL_BYTES = 1 << 24
"""The largest file of labels."""


def describe(path: Path) -> ForeignFile:
    """Inputs, outputs, operators and metadata of a file.

    Raises:
        MissingDependencyError: LiteRT is not installed.
        RuntimeFailedError: LiteRT cannot load the file.
    """
    plain = plain_interpreter(path, 1)
    return ForeignFile(
        inputs=tuple(map(_port, plain.get_input_details())),
        outputs=tuple(map(_port, plain.get_output_details())),
        scheme=_scheme(plain),
        about=image_facts_of(path),
    )


def _port(detail: dict[str, Any]) -> Port:
    scale, zero = detail["quantization"]
    dtype = np.dtype(detail["dtype"])
    is_integer = bool(scale) and dtype.kind in "iu"
    return Port(
        name=str(detail["name"]),
        shape=tuple(int(side) for side in detail["shape"]),
        dtype=dtype.name,
        scale=float(scale) if is_integer else None,
        zero_point=int(zero) if is_integer else None,
    )


def _scheme(plain: Any) -> str:
    """What is quantized, by the types of results and of constants."""
    details = plain.get_tensor_details()
    operators = plain._get_ops_details()
    computed = {int(i) for op in operators for i in op["outputs"]}
    layers = {int(i) for op in operators if op["op_name"] in LAYERS for i in op["outputs"]}
    results = {np.dtype(d["dtype"]).name for d in details if d["index"] in layers}
    if results & {"int8", "uint8"}:
        return "w8a8-static"
    if "int16" in results:
        return "w8a16-static"
    constants = [d for d in details if d["index"] not in computed and len(d["shape"]) > 1]
    sizes: dict[str, int] = {}
    for detail in constants:
        kind = np.dtype(detail["dtype"]).name
        sizes[kind] = sizes.get(kind, 0) + int(np.prod(detail["shape"]))
    kind = max(sizes, key=lambda name: sizes[name], default="float32")
    return {"int8": "w8a8-dynamic", "uint8": "w8a8-dynamic", "float16": "fp16"}.get(kind, "fp32")


def image_facts_of(path: Path) -> ImageFacts:
    """What the metadata says; a file without it, or with damaged metadata, says nothing."""
    content = read_file(path, limit=MAX_BYTES)
    try:
        metadata = _metadata(content)
        if metadata is None:
            return ImageFacts()
        graph = _Table.root(metadata).tables(3)[0]
        mean, std = _normalisation(graph)
        return ImageFacts(mean=mean, std=std, labels=_labels(path, graph))
    except (IndexError, struct.error, TypeError, ValueError, OverflowError, OSError):
        return ImageFacts()


class _Table:
    """A table of a flatbuffer: fields by number, as the schema counts them."""

    def __init__(self, data: bytes, position: int) -> None:
        self._table = Table(data, position)

    @staticmethod
    def root(data: bytes) -> _Table:
        """The first table of a flatbuffer."""
        return _Table(data, struct.unpack_from("<I", data)[0])

    def _at(self, number: int) -> int:
        """Where a field is; 0 if it is not set."""
        offset = int(self._table.Offset(4 + 2 * number))
        return offset and self._table.Pos + offset

    def byte(self, number: int) -> int:
        """An 8-bit number; 0 if it is not set."""
        at = self._at(number)
        return int(self._table.Bytes[at]) if at else 0

    def text(self, number: int) -> str:
        """A string; empty if it is not set."""
        at = self._at(number)
        return self._table.String(at).decode("utf-8", "replace") if at else ""

    def table(self, number: int) -> _Table | None:
        """A table; None if it is not set."""
        at = self._at(number)
        return _Table(self._table.Bytes, self._table.Indirect(at)) if at else None

    def tables(self, number: int) -> list[_Table]:
        """A vector of tables."""
        return self._vector(number, lambda at: _Table(self._table.Bytes, self._table.Indirect(at)))

    def floats(self, number: int) -> list[float]:
        """A vector of float32."""
        return self._vector(number, lambda at: struct.unpack_from("<f", self._table.Bytes, at)[0])

    def integers(self, number: int) -> bytes:
        """A vector of bytes."""
        return bytes(self._vector(number, lambda at: self._table.Bytes[at], 1))

    def number(self, number: int, form: str) -> int:
        """A number in a form of `struct`; 0 if it is not set."""
        at = self._at(number)
        return int(struct.unpack_from(form, self._table.Bytes, at)[0]) if at else 0

    def _vector(self, number: int, read: Callable[[int], Any], size: int = 4) -> list[Any]:
        at = self._at(number)
        if not at:
            return []
        start = at + struct.unpack_from("<I", self._table.Bytes, at)[0]
        (count,) = struct.unpack_from("<I", self._table.Bytes, start)
        if count * size > len(self._table.Bytes):
            raise ValueError("a vector is longer than the file")
        return [read(start + 4 + size * i) for i in range(count)]


def _metadata(content: bytes) -> bytes | None:
    """The flatbuffer of the metadata inside that of the file."""
    model = _Table.root(content)
    entry = next((m for m in model.tables(6) if m.text(0) == NAME), None)
    if entry is None:
        return None
    buffer = model.tables(4)[entry.number(1, "<I")]
    if offset := buffer.number(1, "<Q"):  # behind the flatbuffer
        return content[offset : offset + buffer.number(2, "<Q")]
    return buffer.integers(0)


def _normalisation(graph: _Table) -> tuple[Any, Any]:
    """Mean and deviation of pixels in 0 to 1; None where the metadata has none."""
    for unit in graph.tables(2)[0].tables(4):
        options = unit.table(1)
        if unit.byte(0) == NORMALISATION and options:
            mean, std = (of_three(options.floats(i), BYTE) for i in (0, 1))
            return mean, std if std and min(std) > 0 else None
    return None, None


def _labels(path: Path, graph: _Table) -> tuple[str, ...] | None:
    """The labels behind the file that the first output with any names."""
    files = [file for output in graph.tables(3) for file in output.tables(6)]
    name = next((file.text(0) for file in files if file.byte(2) == AXIS_LABELS), "")
    if not name or not zipfile.is_zipfile(path):
        return None
    with open_zip(path) as archive:
        if name not in archive.namelist():
            return None
        text = read_member(archive, archive.getinfo(name), LABEL_BYTES).decode("utf-8", "replace")
    labels = tuple(line.strip() for line in text.splitlines())
    return labels if 1 < len(labels) <= MAX_CLASSES else None
