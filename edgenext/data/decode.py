"""Encoded image to pixels, exactly as the published evaluation does it (torchvision on Pillow)."""

from __future__ import annotations

import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from edgenext.data.sources import UnreadableError
from edgenext.schema import EvalTransform

RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
MAX_PIXELS = 89_478_485
"""Pillow's own default limit against decompression bombs, enforced instead of warned about."""


def decode(data: bytes, transform: EvalTransform) -> NDArray[np.uint8]:
    """Decode, convert to RGB, resize and crop; size×size×3.

    Orientation tags are not applied, alpha is dropped: so does the published code.

    Raises:
        UnreadableError: not a whole image; says why.
    """
    if not data:
        raise UnreadableError("0 bytes")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                _check_pixels(*image.size)
                pixels = fit(image.convert("RGB"), transform)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as e:
        raise UnreadableError("too many pixels: a decompression bomb") from e
    except UnidentifiedImageError as e:
        raise UnreadableError("not an image") from e
    except UnreadableError:
        raise
    except Exception as e:  # a broken file can make Pillow raise anything
        raise UnreadableError(str(e) or type(e).__name__) from e
    return np.asarray(pixels)


def fit(image: Image.Image, transform: EvalTransform) -> Image.Image:
    """Short side to int(size / crop_pct), then the centre size×size.

    Both roundings are those of torchvision's `resize` and `center_crop`.
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
