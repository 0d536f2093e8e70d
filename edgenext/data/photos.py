"""A set of images that are decoded when they are used: to train on more than memory holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgenext.schema import EvalTransform, SubsetInfo


@dataclass(frozen=True, eq=False)
class PhotoSet:
    """Images of a folder, zip or tar shards in a fixed order.

    `paths` are their places in `data`, `labels` the N indices into `classes`, `hashes` the first
    16 hex digits of the sha256 of each file. `transform` is the one of the network that trains on
    them: its size, mean and deviation; how images are cropped is up to the training.
    """

    data: Path
    paths: tuple[str, ...]
    labels: NDArray[np.int64]
    hashes: tuple[str, ...]
    transform: EvalTransform
    info: SubsetInfo
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)
