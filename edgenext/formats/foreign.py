"""What a file that others made says of itself, and which folders can read that."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from edgenext.errors import ArtifactError
from edgenext.formats.artifact import HEAD_BYTES
from edgenext.formats.format import FORMATS, PACKAGE, Format
from edgenext.models.zoo import MAX_CLASSES
from edgenext.schema import Record
from edgenext.system.parsing import parse_json
from edgenext.system.reading import open_file, readable, similar_files

BYTE = 255.0
"""The largest value of a pixel."""
MOST_CHARACTERS = 1 << 22
"""The longest value of metadata that is read."""

Triple = tuple[float, float, float]

MEANS, STDS = ("mean", "image_mean"), ("std", "image_std")
"""Keys of metadata with means and deviations of pixels in 0 to 1."""
BYTE_MEANS, BYTE_STDS = ("mean_values",), ("scale_values",)
"""The same of pixels in 0 to 255; the keys are OpenVINO's."""
LABELS = ("labels", "classes", "class_names", "names")
SIZES = ("imgsz", "image_size", "input_size")
RANGES = {
    "NominalRange_0_255": (0.0, 1 / BYTE),
    "Normalized_0_1": (0.0, 1.0),
    "Normalized_1_1": (0.5, 0.5),
}
"""Windows ML's names of the range of pixels → mean and deviation."""


class Port(Record):
    """An input or output of a file; a dimension of -1 is free, a scale that of integers."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None

    @property
    def text(self) -> str:
        """Name, shape and type, in a message."""
        shape = "×".join("N" if side < 0 else str(side) for side in self.shape) or "a scalar"
        return f"{readable(self.name)} ({shape} {self.dtype})"


class ImageFacts(Record):
    """What a file's metadata says of images and classes; None and empty: it does not.

    `mean` and `std` are of pixels in 0 to 1. With `bgr` blue comes first.
    """

    size: int | None = None
    mean: Triple | None = None
    std: Triple | None = None
    labels: tuple[str, ...] | None = None
    bgr: bool = False


class ForeignFile(Record):
    """What a file says of itself.

    `scheme` follows from its operators and weights, `opset` is that of an ONNX graph.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    scheme: str
    opset: int | None = None
    producer: str = ""
    about: ImageFacts = ImageFacts()


def foreign_format(path: Path) -> Format:
    """The format of a file that others made, by its content, else by its ending.

    Raises:
        ArtifactError: no such file, or of a format that cannot be adopted.
    """
    if not path.exists():
        raise ArtifactError(f"no file at {readable(path)}", similar_files(path))
    rows = [row for row in FORMATS.values() if _describes(row.folder)]
    if path.is_dir():
        matches = [row for row in rows if row.package and (path / row.package).is_file()]
    else:
        with open_file(path, ArtifactError) as file:
            head = file.read(HEAD_BYTES)
        matches = [
            row for row in rows if any(head[m.offset :].startswith(m.content) for m in row.magic)
        ]
        matches += [row for row in rows if row.ending == path.suffix]
    if not matches:
        raise ArtifactError(
            f"{readable(path)} is of no format that can be adopted",
            f"Give one of {', '.join(row.title for row in rows)}",
        )
    return matches[0]


def describer_of(folder: str) -> ModuleType:
    """The module of a format's folder that reads what a file says of itself."""
    return import_module(f"{PACKAGE}.{folder}.describe")


def _describes(folder: str) -> bool:
    return find_spec(f"{PACKAGE}.{folder}.describe") is not None


def image_facts(metadata: Mapping[str, str]) -> ImageFacts:
    """What keys and values that writers of files use say; what cannot be read is left out.

    Args:
        metadata: of an ONNX file, of OpenVINO's `model_info`, or of a Core ML package.
    """
    values = {key: text[:MOST_CHARACTERS].strip() for key, text in metadata.items()}
    mean, std = _triple(values, MEANS, 1.0), _triple(values, STDS, 1.0)
    mean = mean or _triple(values, BYTE_MEANS, BYTE)
    std = std or _triple(values, BYTE_STDS, BYTE)
    pixels = RANGES.get(values.get("Image.NominalPixelRange", ""))
    if pixels and mean is None and std is None:
        mean, std = ((value,) * 3 for value in pixels)
    is_bgr = values.get("Image.BitmapPixelFormat", "").lower().startswith("bgr")
    return ImageFacts(
        size=_size(values),
        mean=mean,
        std=std if std and min(std) > 0 else None,
        labels=_labels(values),
        bgr=is_bgr or values.get("reverse_input_channels", "").lower() in ("no", "false"),
    )


def of_three(values: Sequence[float], unit: float = 1.0) -> Triple | None:
    """One value for each colour, from one or three in a unit; None for others."""
    if len(values) not in (1, 3) or not all(math.isfinite(value) for value in values):
        return None
    red, green, blue = (values[i if len(values) == 3 else 0] / unit for i in range(3))
    return red, green, blue


def _first(values: Mapping[str, str], keys: Iterable[str]) -> str:
    return next((values[key] for key in keys if values.get(key)), "")


def _triple(values: Mapping[str, str], keys: Iterable[str], unit: float) -> Triple | None:
    text = _first(values, keys).strip("[]()")
    try:
        numbers = [float(word) for word in text.replace(",", " ").split()]
    except ValueError:
        return None
    return of_three(numbers, unit)


def _size(values: Mapping[str, str]) -> int | None:
    words = _first(values, SIZES).strip("[]()").replace(",", " ").split()
    sizes = {int(word) for word in words[-2:] if word.isdecimal() and len(word) < 6}
    return sizes.pop() if len(sizes) == 1 else None


def _labels(values: Mapping[str, str]) -> tuple[str, ...] | None:
    """Labels as a JSON list, as a dictionary of indices, in lines, or between blanks."""
    text = _first(values, LABELS)
    if not text:
        return None
    value: Any = _literal(text) if text[0] in "[{(" else None
    if isinstance(value, dict):
        try:
            by_index = {int(index): str(name) for index, name in value.items()}
        except (TypeError, ValueError):
            return None
        return tuple(by_index.get(i, "") for i in range(len(by_index)))
    if not isinstance(value, list | tuple):
        value = text.splitlines() if "\n" in text else text.split("," if "," in text else None)
    labels = tuple(str(name).strip() for name in value)
    return labels if 1 < len(labels) <= MAX_CLASSES else None


def _literal(text: str) -> Any:
    """A value of JSON, or of Python's literals as some writers print them; None for others."""
    try:
        return parse_json(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None
