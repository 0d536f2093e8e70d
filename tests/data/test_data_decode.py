"""Pixels equal those of the published preprocessing, for every kind of file."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_files import noise
from PIL import Image, ImageOps

from edgenext.data.decode import decode
from edgenext.data.files import UnreadableError
from edgenext.schema import EvalTransform


def published(image: Image.Image, size: int, crop_pct: float) -> np.ndarray:
    """torchvision's Resize(int(size / crop_pct), BICUBIC) and CenterCrop(size), written out."""
    image = image.convert("RGB")
    short = int(size / crop_pct)
    w, h = image.size
    if w <= h:
        new_w, new_h = short, int(short * h / w)
    else:
        new_w, new_h = int(short * w / h), short
    if (new_w, new_h) != (w, h):
        image = image.resize((new_w, new_h), Image.Resampling.BICUBIC)
    top = round((new_h - size) / 2.0)
    left = round((new_w - size) / 2.0)
    return np.asarray(image)[top : top + size, left : left + size]


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("crop_pct", [0.875, 0.95, 1.0])
@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("RGB", "JPEG"),
        ("L", "JPEG"),
        ("CMYK", "JPEG"),
        ("RGB", "PNG"),
        ("RGBA", "PNG"),
        ("LA", "PNG"),
        ("RGB", "BMP"),
        ("RGB", "WEBP"),
        ("RGB", "PPM"),
        ("CMYK", "TIFF"),
    ],
)
@pytest.mark.parametrize("wh", [(80, 50), (51, 83), (40, 40)])
def test_pixels_equal_the_published_preprocessing(wh, mode, kind, crop_pct):
    data = encode(noise(1, *wh, mode), kind)
    pixels = decode(data, EvalTransform(size=32, crop_pct=crop_pct))
    assert pixels.dtype == np.uint8 and pixels.shape == (32, 32, 3)
    np.testing.assert_array_equal(pixels, published(Image.open(io.BytesIO(data)), 32, crop_pct))


@pytest.mark.filterwarnings("ignore:Palette images")  # from Pillow, in the reference below
def test_palette_with_transparency():
    image = noise(2, 60, 45).quantize(16)
    data = encode(image, "PNG", transparency=bytes(range(16)))
    pixels = decode(data, EvalTransform(size=32))
    np.testing.assert_array_equal(pixels, published(Image.open(io.BytesIO(data)), 32, 0.875))


def test_orientation_tag_is_not_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90°
    data = encode(noise(3, 70, 40), "JPEG", exif=exif, quality=95)
    opened = Image.open(io.BytesIO(data))
    pixels = decode(data, EvalTransform(size=32))
    np.testing.assert_array_equal(pixels, published(opened, 32, 0.875))
    assert not np.array_equal(pixels, published(ImageOps.exif_transpose(opened), 32, 0.875))


def test_an_image_of_the_right_size_is_not_resampled():
    image = noise(4, 64, 64)
    pixels = decode(encode(image, "PNG"), EvalTransform(size=64, crop_pct=1.0))
    np.testing.assert_array_equal(pixels, np.asarray(image))


@given(w=st.integers(1, 300), h=st.integers(1, 300), size=st.integers(1, 48))
@settings(max_examples=60, deadline=None)
def test_any_shape_gives_a_full_square(w, h, size):
    image = Image.new("RGB", (w, h), (10, 20, 30))
    pixels = decode(encode(image, "PPM"), EvalTransform(size=size))
    assert pixels.shape == (size, size, 3)
    assert (pixels == (10, 20, 30)).all()  # a crop beyond the edge would be black


def test_bilinear_differs_from_bicubic():
    data = encode(noise(5, 80, 80), "PNG")
    bilinear = decode(data, EvalTransform(size=32, interpolation="bilinear"))
    assert not np.array_equal(bilinear, decode(data, EvalTransform(size=32)))


def huge_png(side: int) -> bytes:
    """A PNG of a few bytes whose header claims side×side pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(1000)))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "0 bytes"),
        (b"hello", "not an image"),
        (encode(noise(6, 64, 64), "JPEG")[:-200], "truncated"),
        (encode(noise(6, 64, 64), "PNG")[:600], "."),
        (huge_png(10_000), "bomb"),  # Pillow only warns
        (huge_png(60_000), "bomb"),
        (encode(Image.new("L", (1, 4000)), "PNG"), "too many pixels"),  # only once enlarged
    ],
)
def test_a_broken_image_says_why(data, reason):
    with pytest.raises(UnreadableError, match=reason):
        decode(data, EvalTransform(size=256))
