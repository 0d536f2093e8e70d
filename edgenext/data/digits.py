"""The embedded data set: the 1,797 scanned 8×8 digits of scikit-learn."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgenext.data.decode import RESAMPLING
from edgenext.data.files import UnreadableError
from edgenext.schema import EvalTransform

NAME = "digits"
NUM_CLASSES = 10
_VAL_EVERY = 3
"""Every third digit of a class, in a fixed shuffled order, is for validation."""


@cache
def _scans() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All scans, N×8×8 uint8 with 0 black and 255 white, and their N digits."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    scans = np.round(digits.images * (255 / 16)).astype(np.uint8)
    return scans, digits.target.astype(np.int64)


class DigitSource:
    """The digits of one split as files called ``<digit>/<index>``."""

    def __init__(self, role: str) -> None:
        self.role = role

    def folders(self, path: str) -> list[str]:
        """Names of the ten digits at the root; no folders below."""
        return [] if path else [str(d) for d in range(10)]

    def files(self, path: str) -> list[str]:
        """Names of all scans of a digit, or of the split."""
        _, targets = _scans()
        split: list[str] = []
        for digit in range(10) if not path else [int(path)]:
            names = [f"{digit}/{i:04d}" for i in np.flatnonzero(targets == digit)]
            names.sort(key=lambda name: hashlib.sha256(name.encode()).digest())
            split += [
                name
                for k, name in enumerate(names)
                if (k % _VAL_EVERY == 0) == (self.role == "val")
            ]
        return sorted(split)

    def read(self, path: str) -> bytes:
        """The 64 pixels, and the index so that equal scans have different hashes."""
        index = int(path.rpartition("/")[2])
        pixels: bytes = _scans()[0][index].tobytes()
        return pixels + index.to_bytes(2, "little")


def render(data: bytes, transform: EvalTransform) -> bytes:
    """The bytes of a digit as size×size×3 uint8, enlarged without cropping.

    Raises:
        UnreadableError: the bytes are not those of a digit.
    """
    if len(data) < 64:
        raise UnreadableError("not a digit")
    scan = Image.fromarray(np.frombuffer(data[:64], np.uint8).reshape(8, 8))
    size = (transform.size, transform.size)
    return scan.resize(size, RESAMPLING[transform.interpolation]).convert("RGB").tobytes()
