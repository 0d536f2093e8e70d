"""A set of decoded images with labels, hashes and names: what every number is made on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgenext.data.cache import geometry
from edgenext.errors import OverlapError
from edgenext.schema import Calibration, EvalTransform, SubsetInfo


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Decoded images in a fixed order.

    `images` is N×size×size×3 uint8, memory-mapped where it comes from a file; `labels` are the
    N indices into `classes`, the ids of the model's outputs; `hashes` are 16 hex digits of the
    sha256 of each encoded file, `names` their paths.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    hashes: tuple[str, ...]
    names: tuple[str, ...]
    transform: EvalTransform
    info: SubsetInfo
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> ImageSet:
        """The images at these positions, in this order, as a set with a hash of its own."""
        index = np.asarray(indices, np.int64)
        labels = self.labels[index]
        hashes = tuple(self.hashes[i] for i in index)
        info = {"sha256": subset_digest(hashes, labels, self.transform), "n": len(index)}
        return replace(
            self,
            images=self.images[index],
            labels=labels,
            hashes=hashes,
            names=tuple(self.names[i] for i in index),
            info=self.info.model_copy(update=info),
        )

    def calibration(self) -> Calibration:
        """What an INT8 artifact keeps of the images its ranges were measured on."""
        return Calibration(subset=self.info, images=self.hashes)


def require_disjoint(evaluation: ImageSet, calibration: Calibration | None) -> None:
    """Prove by content that no image is in both sets; no calibration shares nothing.

    Raises:
        OverlapError: how many are shared, and the names of two.
    """
    if calibration is None:
        return
    used = set(calibration.images)
    shared = [
        name for h, name in zip(evaluation.hashes, evaluation.names, strict=True) if h in used
    ]
    if shared:
        raise OverlapError(
            f"{len(shared)} of the {len(evaluation)} evaluation images are also in the "
            f"calibration set, for example {' and '.join(shared[:2])}",
            "Calibrate on other images: a number on these would flatter the artifact",
        )


def subset_digest(
    hashes: Iterable[str], labels: NDArray[np.int64], transform: EvalTransform
) -> str:
    """What `SubsetInfo.sha256` is: the geometry, then a hash and a label per line."""
    lines = [geometry(transform)]
    lines += [f"{h} {label}" for h, label in zip(hashes, labels.tolist(), strict=True)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
