"""Images of unusual kinds: what becomes of their pixels, and that they are counted."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from image_files import noise
from PIL import Image, ImageOps

from edgenext.data import heif, kinds, load_images
from edgenext.data.decode import decode, decode_image
from edgenext.data.files import UnreadableError
from edgenext.schema import EvalTransform

SIZE = EvalTransform(size=32, crop_pct=1.0)
UPRIGHT = SIZE.model_copy(update={"exif": "apply"})
DEEP = np.arange(0, 65536, 64).reshape(32, 32)
"""Grey values of 16 bits."""
GREY = (DEEP >> 8).astype(np.uint8)
ROTATED = 6


def encode(image: Image.Image, kind: str, orientation: int = 1, **options: object) -> bytes:
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    image.save(buffer, kind, exif=exif, **options)
    return buffer.getvalue()


def grey(values: np.ndarray, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind)
    return buffer.getvalue()


def rgb_png_of_16_bits() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", 32, 32, 16, 2, 0, 0, 0)
    rows = b"".join(b"\0" + np.repeat(row.astype(">u2"), 3).tobytes() for row in DEEP)
    parts = chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def rgb_ppm_of_16_bits() -> bytes:
    return b"P6\n# 1 2\n32 32\n65535\n" + np.repeat(DEEP.astype(">u2"), 3).tobytes()


def kinds_in(data: bytes, transform: EvalTransform = SIZE) -> set[str]:
    bits = np.array([decode_image(data, transform)[1]], np.uint8)
    return set(kinds.counts(bits))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (grey(DEEP.astype(np.uint16), "PNG"), "16-bit"),
        (grey(DEEP.astype(np.uint16), "TIFF"), "16-bit"),
        (grey(DEEP.astype(np.uint16), "PPM"), "16-bit"),
        (grey(DEEP.astype(np.int32), "TIFF"), "16-bit"),
        (rgb_png_of_16_bits(), "16-bit"),
        (rgb_ppm_of_16_bits(), "16-bit"),
        (grey((GREY / 255).astype(np.float32), "TIFF"), "float"),
        (grey(GREY.astype(np.float32), "TIFF"), "float"),
    ],
)
def test_deep_images_are_scaled_not_clipped(data: bytes, kind: str) -> None:
    """Pillow's own conversion makes all grey values above 255 white, and 0 to 1 black."""
    pixels = decode(data, SIZE).astype(int)
    assert np.abs(pixels - GREY[:, :, None]).max() <= 1  # Pillow rounds a PPM's colours
    assert kinds_in(data) == {kind}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (np.full((9, 9), -0.5, np.float32), "float pixels from -0.5 to -0.5"),
        (np.full((9, 9), np.nan, np.float32), "nan"),
        (np.full((9, 9), 256, np.float32), "256"),
        (np.full((9, 9), 1 << 20, np.int32), "at most 16 bits are"),
        (np.full((9, 9), -1, np.int32), "integer pixels from -1"),
    ],
)
def test_numbers_of_unknown_range_are_refused(values: np.ndarray, reason: str) -> None:
    with pytest.raises(UnreadableError, match=reason):
        decode(grey(values, "TIFF"), SIZE)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_an_orientation_is_applied_or_not(kind: str, turn: int) -> None:
    data = encode(noise(3, 32, 48), kind, turn)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    as_stored = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    for transform, expected in ((SIZE, as_stored), (UPRIGHT, upright)):
        middle = np.asarray(Image.fromarray(expected))
        h, w = middle.shape[:2]
        top, left = (h - 32) // 2, (w - 32) // 2
        np.testing.assert_array_equal(
            decode(data, transform), middle[top : top + 32, left : left + 32]
        )
    told = {"TIFF": {"tiff-orientation"}}.get(kind, {"exif-orientation"})
    assert kinds_in(data) == kinds_in(data, UPRIGHT) == (told if turn > 1 else set())


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_is_none_is_ignored(value: int) -> None:
    data = encode(noise(3, 32, 48), "PNG", value)
    np.testing.assert_array_equal(decode(data, UPRIGHT), decode(data, SIZE))
    assert kinds_in(data) == set()


def test_damaged_exif_data_does_not_make_an_image_unreadable() -> None:
    data = encode(noise(4, 32, 32), "JPEG", ROTATED)
    at = data.index(b"Exif\0\0") + 6
    for damage in (b"\xff" * 8, b"MM\0*\xff\xff\xff\xff", b"II*\0\0\0\0\0"):
        decode(data[:at] + damage + data[at + 8 :], UPRIGHT)


@pytest.mark.parametrize(
    ("mode", "file", "kind"),
    [("RGBA", "PNG", "alpha"), ("LA", "PNG", "alpha"), ("CMYK", "JPEG", "cmyk"),
     ("CMYK", "TIFF", "cmyk"), ("RGBA", "WEBP", "alpha")],
)  # fmt: skip
def test_other_modes_are_counted(mode: str, file: str, kind: str) -> None:
    assert kinds_in(encode(noise(1, 40, 40, mode), file)) == {kind}


def test_palettes_are_counted() -> None:
    image = noise(2, 40, 40).quantize(16)
    assert kinds_in(encode(image, "PNG")) == {"palette"}
    assert kinds_in(encode(image, "PNG", transparency=bytes(range(16)))) == {"palette", "alpha"}
    assert kinds_in(encode(noise(1, 40, 40), "PNG")) == set()


@pytest.fixture
def unusual(tmp_path: Path) -> Path:
    """300 images in two classes, so that several processes decode them; 4 are unusual."""
    folder = tmp_path / "unusual"
    for name in "ab":
        (folder / name).mkdir(parents=True)
        for i in range(150):
            noise(i, 40, 36).save(folder / name / f"{i:03d}.png")
    for name in ("a/010.png", "b/020.png", "b/021.png"):
        (folder / name).write_bytes(encode(noise(7, 40, 36), "PNG", ROTATED))
    (folder / "a" / "011.png").write_bytes(grey(DEEP.astype(np.uint16), "PNG"))
    (folder / "a" / "012.png").write_bytes(grey(np.full((9, 9), 1e9, np.float32), "TIFF"))
    return folder


@pytest.mark.parametrize("workers", [1, 2])
def test_a_set_counts_its_kinds(
    unusual: Path, caplog: pytest.LogCaptureFixture, workers: int
) -> None:
    for _ in range(2):  # decoded, then from the cache
        caplog.clear()
        images = load_images(unusual, SIZE, role="val", num_classes=2, workers=workers)
        assert images.info.kinds == {"exif-orientation": 3, "16-bit": 1}
        assert images.info.corrupt == ("a/012.png",)
        assert "3 with an EXIF orientation (ignored, as published)" in caplog.text
        assert "1 of 16 bits (scaled to 8 bits)" in caplog.text
        flagged = {n for n, bits in zip(images.names, images.kinds, strict=True) if bits}
        assert flagged == {"a/010.png", "a/011.png", "b/020.png", "b/021.png"}
    assert images.take([10, 0, 11]).info.kinds == {"exif-orientation": 1, "16-bit": 1}
    assert images.take([0]).info.kinds == {}
    turned = load_images(unusual, UPRIGHT, role="val", num_classes=2, workers=workers)
    assert (turned.info.exif, images.info.exif) == ("apply", "ignore")
    assert turned.info.kinds == images.info.kinds and turned.hashes == images.hashes
    assert turned.info.sha256 != images.info.sha256
    differ = (np.asarray(turned.images) != np.asarray(images.images)).any((1, 2, 3))
    assert set(np.array(turned.names)[differ]) == flagged - {"a/011.png"}
    assert "3 with an EXIF orientation (applied)" in caplog.text


def test_heic_is_read_with_its_package(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    image = Image.linear_gradient("L").resize((64, 48)).convert("RGB")
    stored = pillow_heif.from_pillow(image)
    for name in ("a", "b"):
        (tmp_path / "d" / name).mkdir(parents=True)
    stored.save(tmp_path / "d" / "a" / "x.HEIC", quality=95)
    stored.save(tmp_path / "d" / "b" / "named.jpg", quality=95)
    assert heif.readable_endings() == {".heic", ".heif"}
    images = load_images(tmp_path / "d", SIZE, role="val", num_classes=2)
    assert images.names == ("a/x.HEIC", "b/named.jpg") and images.info.unread == ()
    expected = decode(encode(image, "PNG"), SIZE).astype(int)
    for pixels in images.images:
        assert np.abs(pixels - expected).mean() < 3  # it is a lossy format
