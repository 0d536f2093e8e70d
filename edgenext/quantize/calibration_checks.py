"""Checks of a calibration: warnings about its images and its ranges, each with the evidence."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgenext.data import ImageSet

FEW_IMAGES = 32
"""With fewer images ranges depend on chance: maxima still grow by some percent."""

FLAT = 2.0
"""Standard deviation of pixels (of 255) below which an image shows nothing."""

FLAT_SHARE = 0.1
"""Share of such images above which to warn."""

FAR = 1.5
"""Normalised images like those of the training have a mean near 0 and a deviation near 1. A mean
further from 0, or a deviation that differs by more than this factor squared, means other images."""

CLIPPED = 0.01
"""Share of a tensor's values outside its range above which to warn."""

WORST = 3
"""Tensors named in a warning."""


def calibration_warnings(images: ImageSet) -> list[str]:
    """Warnings about images: too few, of one colour, or unlike those of the training."""
    warnings: list[str] = []
    n = len(images)
    if n < FEW_IMAGES:
        count = "1 image" if n == 1 else f"{n} images"
        warnings.append(f"calibrated on {count}: ranges are a matter of chance below {FEW_IMAGES}")
    pixels = np.asarray(images.images).reshape(n, -1, 3)
    flat = sum(float(pixels[i].std(0).max()) < FLAT for i in range(n))
    if flat > FLAT_SHARE * n:
        warnings.append(f"{flat} of the {n} calibration images are of one colour")
    transform = images.transform
    mean = np.mean([pixels[i].mean(0, dtype=np.float64) for i in range(n)], 0)
    square = np.mean([np.square(pixels[i] / 255.0).mean(0) for i in range(n)], 0)
    deviation = np.sqrt(np.maximum(square - np.square(mean / 255), 0)) / np.array(transform.std)
    shift = (mean / 255 - np.array(transform.mean)) / np.array(transform.std)
    if np.abs(shift).max() > FAR or not 1 / FAR**2 < deviation.mean() < FAR**2:
        warnings.append(
            "the calibration images are unlike those the network was trained on: normalised, their "
            f"channels have means of {_listed(shift)} and deviations of {_listed(deviation)}, "
            "where about 0 and 1 are expected"
        )
    return warnings


def clipping_warnings(clipped: Mapping[str, float]) -> list[str]:
    """A warning that names the tensors whose ranges clip most, if any clip more than `CLIPPED`."""
    shares = {name: share for name, share in clipped.items() if share > CLIPPED}
    if not shares:
        return []
    worst = sorted(shares, key=lambda name: -shares[name])[:WORST]
    named = ", ".join(f"{name} ({100 * shares[name]:.1f} %)" for name in worst)
    count = "1 tensor" if len(shares) == 1 else f"{len(shares)} tensors"
    return [f"{count} would clip more than {CLIPPED:.0%} of its calibration values: {named}"]


def _listed(values: np.ndarray) -> str:
    return "/".join(f"{v:.2f}" for v in values)
