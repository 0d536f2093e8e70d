"""The values that a graph's input can take: those of pixels from 0 to 255."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgenext.graph.ranges.bounds import Array
from edgenext.schema import EvalTransform


@dataclass(frozen=True)
class InputRange:
    """The least and greatest values of an input, by channel."""

    low: Array
    high: Array


def input_range(transform: EvalTransform, *, pixels: bool = False) -> InputRange:
    """The range of images that are normalised to N×3×H×W, or of N×H×W×3 pixels.

    Args:
        transform: the normalisation.
        pixels: the graph normalises them itself.
    """
    if pixels:
        return InputRange(np.zeros((1, 1, 1, 1)), np.full((1, 1, 1, 1), 255.0))
    mean, std = (np.asarray(v, np.float64).reshape(1, 3, 1, 1) for v in
                 (transform.mean, transform.std))  # fmt: skip
    slack = 1e-5 / std  # float32 rounds
    return InputRange((0 - mean) / std - slack, (1 - mean) / std + slack)
