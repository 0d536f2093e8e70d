"""Unusual kinds of images: what is done with each, and how many of a set are of it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgenext.data.files import UnreadableError

ORIENTED, TURNED, DEEP, FLOAT, PALETTE, CMYK, ALPHA = (1 << bit for bit in range(7))
"""Kinds as bits: an image may be of several."""

NAMES = {
    ORIENTED: "exif-orientation",
    TURNED: "tiff-orientation",
    DEEP: "16-bit",
    FLOAT: "float",
    PALETTE: "palette",
    CMYK: "cmyk",
    ALPHA: "alpha",
}
"""How results call them."""

_PHRASES = {
    ORIENTED: "with an EXIF orientation",
    TURNED: "with a TIFF orientation (always applied)",
    DEEP: "of 16 bits (scaled to 8 bits)",
    FLOAT: "of floats (0 to 1 is scaled to 255, larger values are rounded)",
    PALETTE: "with a palette (converted to RGB)",
    CMYK: "in CMYK (converted to RGB)",
    ALPHA: "with alpha (dropped)",
}
"""How messages call them, and what `rgb` does with them."""

_ORIENTATION = 0x0112
_BITS_PER_SAMPLE = 258
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Orientation → what makes the image upright."""


def load(image: Image.Image, encoded: bytes) -> int:
    """Load an image's pixels and tags.

    The orientation of a TIFF or HEIF file is part of the format: loading applies it.

    Args:
        image: opened by Pillow from `encoded`.
        encoded: the file's bytes.

    Returns:
        The image's kinds, as bits.
    """
    turned = getattr(image, "tag_v2", {}).get(_ORIENTATION) in _TURNS
    image.load()
    kinds = TURNED if turned else 0
    if orientation(image) in _TURNS:
        kinds |= ORIENTED
    if image.mode == "F":
        kinds |= FLOAT
    elif image.mode.startswith("I") or _sample_bits(image, encoded) > 8:
        kinds |= DEEP
    if image.mode in ("P", "PA"):
        kinds |= PALETTE
    if image.mode == "CMYK":
        kinds |= CMYK
    if image.has_transparency_data:
        kinds |= ALPHA
    return kinds


def orientation(image: Image.Image) -> int:
    """The EXIF orientation of a loaded image, 1 to 8; 1 where there is none or it is damaged."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - damaged EXIF data can make Pillow raise anything
        return 1
    return value if value in _TURNS else 1


def upright(image: Image.Image, turn: int) -> Image.Image:
    """An image turned as an EXIF orientation says."""
    return image.transpose(_TURNS[turn]) if turn in _TURNS else image


def rgb(image: Image.Image) -> Image.Image:
    """A loaded image in 8-bit RGB.

    Pillow's own conversion, as in the published evaluation, but for grey images of more than 8
    bits, which it clips at 255: these are scaled.

    Raises:
        UnreadableError: numbers of unknown range.
    """
    if image.mode == "F":
        return Image.fromarray(_from_float(np.asarray(image))).convert("RGB")
    if image.mode.startswith("I"):
        return Image.fromarray(_from_integers(np.asarray(image))).convert("RGB")
    return image.convert("RGB")


def counts(kinds: NDArray[np.uint8]) -> dict[str, int]:
    """How many of N images are of each kind, by its name; kinds that do not occur are left out."""
    totals = {name: int(np.count_nonzero(kinds & bit)) for bit, name in NAMES.items()}
    return {name: n for name, n in totals.items() if n}


def description(totals: dict[str, int], exif: str) -> str:
    """Such as `3 with an EXIF orientation (ignored, as published), 1 with alpha (dropped)`."""
    phrases = {NAMES[bit]: phrase for bit, phrase in _PHRASES.items()}
    treatment = "applied" if exif == "apply" else "ignored, as published"
    phrases[NAMES[ORIENTED]] += f" ({treatment})"
    return ", ".join(f"{n} {phrases[name]}" for name, n in totals.items())


def _sample_bits(image: Image.Image, encoded: bytes) -> int:
    """Bits of a colour sample in the file: Pillow gives RGB of 16 bits as 8 bits."""
    if image.format == "PNG":
        return encoded[24] if encoded[12:16] == b"IHDR" else 8
    if image.format == "TIFF":
        bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, 8)
        return max(bits) if isinstance(bits, tuple) else int(bits)
    if image.format == "PPM":
        return 16 if _ppm_maximum(encoded) > 255 else 8
    return int(image.info.get("bit_depth") or 8)  # of a HEIF file


def _ppm_maximum(encoded: bytes) -> int:
    """The largest value of a sample, from the header: magic, width, height, maximum."""
    if encoded[:2] not in (b"P2", b"P3", b"P5", b"P6"):
        return 1
    lines = encoded[:512].split(b"\n")
    words = b" ".join(line.partition(b"#")[0] for line in lines).split()
    return int(words[3]) if len(words) > 3 and words[3].isdigit() else 255


def _from_float(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """0 to 1, or else 0 to 255, as 8 bits."""
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 255):  # also where a value is not a number
        raise UnreadableError(
            f"float pixels from {low:g} to {high:g}: only 0 to 1 and 0 to 255 are understood"
        )
    return np.rint(values * (255 if high <= 1 else 1)).astype(np.uint8)


def _from_integers(values: NDArray[np.integer]) -> NDArray[np.uint8]:
    """The upper 8 of 16 bits, as Pillow takes them of colours."""
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 0xFFFF:
        raise UnreadableError(
            f"integer pixels from {low} to {high}: at most 16 bits are understood"
        )
    return (values.astype(np.uint16) >> 8).astype(np.uint8)
