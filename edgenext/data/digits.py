"""The embedded data set: the 1,797 scanned 8×8 digits of scikit-learn."""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from importlib import metadata

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgenext.data.decode import RESAMPLING
from edgenext.data.files import UnreadableError
from edgenext.schema import EvalTransform

NAME = "digits"
NUM_CLASSES = 10
_FILE = "sklearn/datasets/data/digits.csv.gz"
"""In scikit-learn's package: 64 pixels of 0 to 16 and the digit in each line."""
_VAL_EVERY = 3
"""Every third digit of a class, in a fixed shuffled order, is for validation."""


@cache
def _scans() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All scans, N×8×8 uint8 with 0 black and 255 white, and their N digits."""
    # the file itself: importing scikit-learn takes longer than everything else here
    path = metadata.distribution("scikit-learn").locate_file(_FILE)
    with gzip.open(str(path), "rt") as file:
        table = np.loadtxt(file, np.int64, delimiter=",")
    pixels, targets = table[:, :-1].reshape(-1, 8, 8), table[:, -1]
    return np.round(pixels * (255 / 16)).astype(np.uint8), targets


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
