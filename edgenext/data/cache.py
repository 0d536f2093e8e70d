"""Decoded images on disk: one memory-mapped array per list of images and geometry."""

from __future__ import annotations

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

from edgenext.data.decode import DecodedImage
from edgenext.data.files import UnreadableError
from edgenext.errors import InputError, OutputError
from edgenext.schema import EvalTransform
from edgenext.schema.base import Finite
from edgenext.schema.key import Inputs, key
from edgenext.system.files import atomic_path, write_text
from edgenext.system.parsing import read_json
from edgenext.system.versions import DECODING, versions_of

_CHUNK = 1 << 24
_VERSION = 2
"""To be increased when the same bytes and geometry give other pixels than before."""


@dataclass(frozen=True)
class DecodedImages:
    """The images of a list that could be decoded, in order, and why the others could not.

    `pixels` is N×size×size×3 uint8, `kinds` N uint8 of bits as in `data.kinds`; `broken` has the
    reason by position in the list.
    """

    pixels: NDArray[np.uint8]
    broken: dict[int, str]
    kinds: NDArray[np.uint8]


class DecodeInputs(Inputs):
    """What decides the pixels of a list of images: everything of a transform but normalisation."""

    version: int
    hashes: tuple[str, ...]
    transform: dict[str, Finite]

    @staticmethod
    def of(hashes: Sequence[str], transform: EvalTransform) -> DecodeInputs:
        """The record of a list of images with these content hashes."""
        return DecodeInputs(
            versions=versions_of(*DECODING),
            version=_VERSION,
            hashes=tuple(hashes),
            transform=transform.model_dump(exclude={"mean", "std"}),
        )


def cached_images(
    folder: Path,
    hashes: Sequence[str],
    transform: EvalTransform,
    decode: Callable[[], Generator[DecodedImage | UnreadableError]],
) -> DecodedImages:
    """The decoded images with these content hashes, from the cache or else from `decode`.

    A cached array is used if it has the length and CRC-32 recorded in the JSON file beside it.
    Several processes may write the same array at once: all of them write the same bytes.

    Args:
        folder: the cache's folder.
        hashes: content hashes of the encoded images, in order.
        transform: all of it but mean and std determines the pixels.
        decode: yields each image decoded, or why it cannot be decoded.

    Raises:
        OutputError: the cache cannot be written.
    """
    array = folder / f"{key(DecodeInputs.of(hashes, transform))[:32]}.npy"
    index = array.with_suffix(".json")
    images = _open(array, index, transform.size)
    if images is not None:
        return images
    try:
        with closing(decode()) as decoded:  # ends its processes even after an error
            _write(array, index, transform.size, decoded)
    except OutputError as e:
        remedy = "Free some space, or set EDGENEXT_CACHE to another folder"
        raise OutputError(e.message, remedy) from e
    images = _open(array, index, transform.size)
    if images is None:
        raise OutputError(f"cannot read back {array}: it changed after it was written")
    return images


def _open(array: Path, index: Path, size: int) -> DecodedImages | None:
    """The cached images; None if they are missing, incomplete or damaged."""
    try:
        facts = read_json(index)
        pixels = cast(NDArray[np.uint8], npy.open_memmap(array, mode="r"))
        intact = (
            pixels.dtype == np.uint8
            and pixels.shape == (facts["n"], size, size, 3)
            and _crc(pixels) == facts["crc32"]
        )
        broken = {int(k): str(v) for k, v in facts["broken"].items()}
        kinds = np.zeros(len(pixels), np.uint8)
        for i, bits in facts["kinds"].items():
            kinds[int(i)] = bits
    except (OSError, InputError, ValueError, KeyError, TypeError, AttributeError):
        return None
    except (IndexError, OverflowError):  # kinds of other images
        return None
    return DecodedImages(pixels, broken, kinds) if intact else None


def _crc(pixels: NDArray[np.uint8]) -> int:
    flat, crc = pixels.reshape(-1), 0
    for start in range(0, flat.size, _CHUNK):
        crc = zlib.crc32(flat[start : start + _CHUNK].data, crc)
    return crc


def _write(
    array: Path, index: Path, size: int, images: Generator[DecodedImage | UnreadableError]
) -> None:
    """Write the array, then the JSON file that makes it valid.

    The array is written, not mapped: on a full disk, writing to a mapped page kills the process.
    """
    broken: dict[str, str] = {}
    kinds: dict[str, int] = {}
    crc = n = 0
    with atomic_path(array) as temporary, temporary.open("wb") as f:
        _write_header(f, 0, size)
        start = f.tell()
        for i, image in enumerate(images):
            if isinstance(image, UnreadableError):
                broken[str(i)] = str(image)
                continue
            f.write(image.pixels)
            crc = zlib.crc32(image.pixels, crc)
            if image.kinds:
                kinds[str(n)] = image.kinds
            n += 1
        f.seek(0)
        _write_header(f, n, size)  # numpy pads the header so that the first dimension can grow
        if f.tell() != start:
            raise AssertionError("the header grew into the pixels")
    write_text(index, json.dumps({"n": n, "crc32": crc, "broken": broken, "kinds": kinds}))


def _write_header(f: BinaryIO, n: int, size: int) -> None:
    npy.write_array_header_1_0(
        f, {"descr": "|u1", "fortran_order": False, "shape": (n, size, size, 3)}
    )
