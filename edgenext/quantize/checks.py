"""What may be wrong with calibration: warnings, each with its evidence."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from edgenext.data import ImageSet
from edgenext.errors import ArtifactError

FEW_IMAGES = 32
"""Below, a range is a matter of chance: maxima still grow by some percent."""

FLAT = 2.0
"""Images whose pixels deviate by less than this (of 255) show nothing."""

FLAT_SHARE = 0.1
"""Share of such images that is worth a warning."""

FAR = 1.5
"""Normalised inputs are near mean 0 and deviation 1 for images like those of the training: a mean
further from 0, or a deviation that differs by more than this factor squared, is another world."""

CLIPPED = 0.01
"""Share of a tensor's values outside its range that is worth a warning."""

WORST = 3
"""Tensors named in a warning."""


def require_finite(model: onnx.ModelProto) -> None:
    """Refuse a graph whose weights are not all numbers.

    Raises:
        ArtifactError: naming the first of them.
    """
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            bad = int((~np.isfinite(onnx.numpy_helper.to_array(tensor))).sum())
            if bad:
                raise ArtifactError(
                    f"{tensor.name} has {bad} values that are NaN or infinite",
                    "The weights are broken: start from a checkpoint that evaluates",
                )


def calibration_warnings(images: ImageSet) -> list[str]:
    """What speaks against a set of calibration images."""
    found: list[str] = []
    n = len(images)
    if n < FEW_IMAGES:
        count = "1 image" if n == 1 else f"{n} images"
        found.append(f"calibrated on {count}: ranges are a matter of chance below {FEW_IMAGES}")
    pixels = images.images.reshape(n, -1, 3)
    flat = sum(float(pixels[i].std(0).max()) < FLAT for i in range(n))
    if flat > FLAT_SHARE * n:
        found.append(f"{flat} of the {n} calibration images are of one colour")
    transform = images.transform
    mean = np.mean([pixels[i].mean(0, dtype=np.float64) for i in range(n)], 0)
    square = np.mean([np.square(pixels[i] / 255.0).mean(0) for i in range(n)], 0)
    deviation = np.sqrt(np.maximum(square - np.square(mean / 255), 0)) / np.array(transform.std)
    shift = (mean / 255 - np.array(transform.mean)) / np.array(transform.std)
    if np.abs(shift).max() > FAR or not 1 / FAR**2 < deviation.mean() < FAR**2:
        found.append(
            "the calibration images are unlike those the network was trained on: normalised, their "
            f"channels have means of {_listed(shift)} and deviations of {_listed(deviation)}, "
            "where about 0 and 1 are expected"
        )
    return found


def clipping_warnings(
    clipped: Mapping[str, float], of: str = "its calibration values"
) -> list[str]:
    """Tensors that lose more than a sliver of their values, worst first."""
    lost = {name: share for name, share in clipped.items() if share > CLIPPED}
    if not lost:
        return []
    worst = sorted(lost, key=lambda name: -lost[name])[:WORST]
    named = ", ".join(f"{name} ({100 * lost[name]:.1f} %)" for name in worst)
    count = "1 tensor" if len(lost) == 1 else f"{len(lost)} tensors"
    return [f"{count} would clip more than {CLIPPED:.0%} of {of}: {named}"]


def _listed(values: np.ndarray) -> str:
    return "/".join(f"{v:.2f}" for v in values)
