"""The embedded data set: the 1,797 scanned 8×8 digits that come with scikit-learn."""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgenext.data.decode import RESAMPLING
from edgenext.data.sources import UnreadableError
from edgenext.schema import EvalTransform

NAME = "digits"
NUM_CLASSES = 10
_VAL_EVERY = 3
"""Every third digit of a class, in an order drawn once and for all, is for validation."""


@cache
def _scans() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All scans, N×8×8 with 0 black and 255 white, and what they show."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    scans = np.round(digits.images * (255 / 16)).astype(np.uint8)
    return scans, digits.target.astype(np.int64)


class DigitSource:
    """The digits of one split as files called ``<digit>/<index>``, whose bytes end in the index."""

    def __init__(self, role: str) -> None:
        self.role = role

    def folders(self, path: str) -> list[str]:
        """The ten digits."""
        return [] if path else [str(d) for d in range(10)]

    def images(self, path: str) -> list[str]:
        """Names of the digits of a class, or of all."""
        _, targets = _scans()
        found: list[str] = []
        for digit in range(10) if not path else [int(path)]:
            names = [f"{digit}/{i:04d}" for i in np.flatnonzero(targets == digit)]
            names.sort(key=lambda name: hashlib.sha256(name.encode()).digest())
            found += [
                name
                for k, name in enumerate(names)
                if (k % _VAL_EVERY == 0) == (self.role == "val")
            ]
        return sorted(found)

    def read(self, path: str) -> bytes:
        """The 64 pixels and the index, so that equal scans have different hashes."""
        index = int(path.rpartition("/")[2])
        pixels: bytes = _scans()[0][index].tobytes()
        return pixels + index.to_bytes(2, "little")


def render(data: bytes, transform: EvalTransform) -> bytes:
    """A digit as size×size×3, enlarged whole: there is no edge to crop."""
    if len(data) < 64:
        raise UnreadableError("not a digit")
    scan = Image.fromarray(np.frombuffer(data[:64], np.uint8).reshape(8, 8))
    size = (transform.size, transform.size)
    return scan.resize(size, RESAMPLING[transform.interpolation]).convert("RGB").tobytes()
