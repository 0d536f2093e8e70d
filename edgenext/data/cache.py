"""Decoded images on disk: one memory-mapped array per list of images and geometry."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from edgenext.data.sources import UnreadableError
from edgenext.errors import OutputError
from edgenext.schema import EvalTransform
from edgenext.system.files import atomic_path, write_text

_CHUNK = 1 << 24
_VERSION = 1
"""Counted up when the same bytes and geometry would give other pixels."""


@dataclass(frozen=True)
class Decoded:
    """Pixels of the images that could be decoded, in order, and why the others could not."""

    pixels: NDArray[np.uint8]
    broken: dict[int, str]
    """Position in the list that was asked for → reason."""


def geometry(transform: EvalTransform) -> str:
    """What decides the pixels of an image: all of the transform but the normalisation."""
    t = transform
    return f"{t.size} {t.crop_pct!r} {t.interpolation}"


def cached(
    folder: Path,
    hashes: Sequence[str],
    transform: EvalTransform,
    decode: Callable[[], Generator[bytes | UnreadableError]],
) -> Decoded:
    """The decoded images with these content hashes, from the cache or through `decode`.

    A cached array counts when it is whole: a length and a CRC-32 stand beside it. Others may
    write the same array at the same time; whoever comes last leaves the same bytes.

    Raises:
        OutputError: the cache cannot be written.
    """
    text = "\n".join((f"{_VERSION} {geometry(transform)}", *hashes))
    array = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npy"
    note = array.with_suffix(".json")
    found = _open(array, note, transform.size)
    if found is not None:
        return found
    try:
        with closing(decode()) as images:  # ends its processes, whatever happens here
            _write(array, note, transform.size, images)
    except OutputError as e:
        raise OutputError(e.message, "Free some space or set EDGENEXT_CACHE to a folder") from e
    found = _open(array, note, transform.size)
    if found is None:
        raise OutputError(f"cannot read back {array}: it changed after it was written")
    return found


def _open(array: Path, note: Path, size: int) -> Decoded | None:
    """The cached array, or None if it is not there or not whole."""
    try:
        facts = json.loads(note.read_bytes())
        pixels = cast(NDArray[np.uint8], npy.open_memmap(array, mode="r"))
        whole = (
            pixels.dtype == np.uint8
            and pixels.shape == (facts["n"], size, size, 3)
            and _crc(pixels) == facts["crc32"]
        )
        broken = {int(k): str(v) for k, v in facts["broken"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Decoded(pixels, broken) if whole else None


def _crc(pixels: NDArray[np.uint8]) -> int:
    flat, crc = pixels.reshape(-1), 0
    for start in range(0, flat.size, _CHUNK):
        crc = zlib.crc32(flat[start : start + _CHUNK].data, crc)
    return crc


def _write(array: Path, note: Path, size: int, images: Generator[bytes | UnreadableError]) -> None:
    """Write the array, then the note that makes it valid.

    The array is written, not mapped: on a full disk a mapped page ends the process.
    """
    broken: dict[str, str] = {}
    crc = n = 0
    with atomic_path(array) as temporary, temporary.open("wb") as f:
        _write_header(f, 0, size)
        start = f.tell()
        for i, image in enumerate(images):
            if isinstance(image, UnreadableError):
                broken[str(i)] = str(image)
                continue
            f.write(image)
            crc = zlib.crc32(image, crc)
            n += 1
        f.seek(0)
        _write_header(f, n, size)  # numpy leaves room for the first dimension to grow
        if f.tell() != start:
            raise AssertionError("the header grew into the pixels")
    write_text(note, json.dumps({"n": n, "crc32": crc, "broken": broken}))


def _write_header(f: BinaryIO, n: int, size: int) -> None:
    npy.write_array_header_1_0(
        f, {"descr": "|u1", "fortran_order": False, "shape": (n, size, size, 3)}
    )
