"""Encoded image to pixels, exactly as in the published evaluation (torchvision on Pillow).

Grey images of more than 8 bits are the exception: Pillow clips them, here they are scaled.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from edgenext.data import heif
from edgenext.data.files import UnreadableError
from edgenext.data.kinds import load, orientation, rgb, upright
from edgenext.schema import EvalTransform, Exif

RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "PPM", "TIFF", "GIF")
"""What is decoded, whatever the file is called: Pillow reads EPS by starting Ghostscript."""
MAX_PIXELS = 89_478_485
"""Pillow's default limit against decompression bombs; an error here, not a warning."""


@dataclass(frozen=True)
class DecodedImage:
    """The bytes of size×size×3 uint8 pixels, and the image's kinds as bits: see `data.kinds`."""

    pixels: bytes
    kinds: int = 0


def decode(data: bytes, transform: EvalTransform) -> NDArray[np.uint8]:
    """The pixels of `decode_image`, size×size×3 uint8.

    Raises:
        UnreadableError: the image is damaged, too large, or not an image.
    """
    return decode_image(data, transform)[0]


def decode_image(data: bytes, transform: EvalTransform) -> tuple[NDArray[np.uint8], int]:
    """Decode, convert to RGB, resize and crop.

    As in the published code, orientation tags are ignored unless the transform applies them, and
    alpha is dropped.

    Returns:
        size×size×3 uint8, and the image's kinds as bits: see `data.kinds`.

    Raises:
        UnreadableError: the image is damaged, too large, or not an image.
    """
    with _opened(data, transform.exif) as (image, kinds):
        pixels = fit(image, transform)
    return np.asarray(pixels), kinds


def decode_whole(data: bytes, exif: Exif) -> Image.Image:
    """Decode and convert to RGB, at the image's own size.

    Raises:
        UnreadableError: as `decode_image`.
    """
    with _opened(data, exif) as (image, _):
        return image


@contextlib.contextmanager
def _opened(data: bytes, exif: Exif) -> Iterator[tuple[Image.Image, int]]:
    """An image in RGB, and its kinds; errors in the block are those of a damaged image."""
    if not data:
        raise UnreadableError("0 bytes")
    formats = (heif.FORMAT,) if heif.is_readable(data) else FORMATS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=formats) as image:
                _check_pixels(*image.size)
                kinds = load(image, data)
                turn = orientation(image) if exif == "apply" else 1
                yield upright(rgb(image), turn), kinds
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as e:
        raise UnreadableError("too many pixels: a decompression bomb") from e
    except UnidentifiedImageError as e:
        raise UnreadableError("not an image") from e
    except UnreadableError:
        raise
    except Exception as e:  # a damaged file can make Pillow raise anything
        raise UnreadableError(str(e) or type(e).__name__) from e


def fit(image: Image.Image, transform: EvalTransform) -> Image.Image:
    """Resize the short side to int(size / crop_pct), then crop the centre size×size.

    Both steps round as torchvision's `resize` and `center_crop` do.

    Raises:
        UnreadableError: the resized image would be too large.
    """
    size = transform.size
    short = int(size / transform.crop_pct)
    width, height = image.size
    long = int(short * max(width, height) / min(width, height))
    target = (short, long) if width <= height else (long, short)
    if target != image.size:
        _check_pixels(*target)
        image = image.resize(target, RESAMPLING[transform.interpolation])
    if target == (size, size):
        return image
    left, top = (round((side - size) / 2.0) for side in target)
    return image.crop((left, top, left + size, top + size))


def _check_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UnreadableError(f"too many pixels: {width}×{height}")
