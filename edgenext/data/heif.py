"""HEIC and HEIF images, which an optional package reads: the extra `heic`."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec

ENDINGS = frozenset({".heic", ".heif"})
PACKAGE = "pillow_heif"
FORMAT = "HEIF"
"""Pillow's name of the format."""
_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"mif1"})


def readable_endings() -> frozenset[str]:
    """`ENDINGS` if the package is installed, else none."""
    return ENDINGS if _installed() else frozenset()


def is_readable(data: bytes) -> bool:
    """Whether the bytes are a HEIF image and the package is installed; then Pillow opens it."""
    if data[4:8] != b"ftyp" or data[8:12] not in _BRANDS or not _installed():
        return False
    _register()
    return True


@cache
def _installed() -> bool:
    return find_spec(PACKAGE) is not None


@cache
def _register() -> None:
    from pillow_heif import register_heif_opener

    register_heif_opener(thumbnails=False)
