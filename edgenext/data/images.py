"""A set of decoded images with labels, hashes and names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edgenext.data.kinds import counts
from edgenext.data.pixels import Pixels, PixelView
from edgenext.errors import OverlapError
from edgenext.schema import Calibration, EvalTransform, SubsetInfo


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Decoded images in a fixed order.

    `images` is N×size×size×3 uint8, memory-mapped if it comes from the cache; `labels` are the N
    indices into `classes`, the ids of the model's outputs; `hashes` are the first 16 hex digits of
    the sha256 of each encoded file, `names` their paths. `kinds` has bits as in `data.kinds`, or
    is empty where nothing is known of them.
    """

    images: Pixels
    labels: NDArray[np.int64]
    hashes: tuple[str, ...]
    names: tuple[str, ...]
    transform: EvalTransform
    info: SubsetInfo
    classes: tuple[str, ...] = ()
    kinds: NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Sequence[int] | NDArray[np.integer]) -> ImageSet:
        """The subset at these positions, in this order, with its own sha256.

        Its `images` are a view: pixels are copied only where they are read.
        """
        index = np.asarray(indices, np.int64)
        labels = self.labels[index]
        hashes = tuple(self.hashes[i] for i in index)
        kinds = self.kinds[index] if len(self.kinds) else self.kinds
        info = {
            "sha256": subset_digest(hashes, labels, self.transform),
            "n": len(index),
            "kinds": counts(kinds),
        }
        return replace(
            self,
            images=PixelView.of(self.images, index),
            labels=labels,
            hashes=hashes,
            names=tuple(self.names[i] for i in index),
            info=self.info.model_copy(update=info),
            kinds=kinds,
        )

    def calibration(self) -> Calibration:
        """The record of these images as a calibration set, for an artifact's manifest."""
        return Calibration(subset=self.info, images=self.hashes)


def require_disjoint(evaluation: ImageSet, *calibration: Calibration) -> None:
    """Check by content that no image to evaluate on is in another set.

    Args:
        evaluation: the images to evaluate on.
        calibration: the sets that a file was calibrated and trained on, if it was.

    Raises:
        OverlapError: images are shared; says how many and names two.
    """
    used = {image for images in calibration for image in images.images}
    shared = [
        name for h, name in zip(evaluation.hashes, evaluation.names, strict=True) if h in used
    ]
    if shared:
        raise OverlapError(
            f"{len(shared)} of the {len(evaluation)} evaluation images are also in the "
            f"calibration set, for example {' and '.join(shared[:2])}",
            "Calibrate on other images: results on these would be too optimistic",
        )


def subset_digest(
    hashes: Iterable[str], labels: NDArray[np.int64], transform: EvalTransform
) -> str:
    """The sha256 of `SubsetInfo`: of the geometry, then a line of hash and label per image."""
    lines = [_geometry(transform)]
    lines += [f"{h} {label}" for h, label in zip(hashes, labels.tolist(), strict=True)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _geometry(transform: EvalTransform) -> str:
    """The part of a transform that determines the pixels: everything but the normalisation."""
    t = transform
    upright = " exif" if t.exif == "apply" else ""
    return f"{t.size} {t.crop_pct!r} {t.interpolation}{upright}"
