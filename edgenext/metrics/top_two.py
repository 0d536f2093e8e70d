"""The two best classes of each image, which is all that a report needs of logits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgenext.formats.session import Logits
from edgenext.metrics.fidelity import chunks


@dataclass(frozen=True)
class TopTwo:
    """The best class of each of N images, the second best, and how far it is behind.

    `first` and `second` are N int32, `second` is −1 where there is one class; `margin` is the
    difference of their logits, N float32.
    """

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    margin: NDArray[np.float32]


def top_two(values: Logits) -> TopTwo:
    """The two best classes of N×K logits; of equal logits the lower class is better."""
    n = len(values)
    first, second = np.empty(n, np.int32), np.full(n, -1, np.int32)
    margin = np.zeros(n, np.float32)
    for at, part in chunks(values):
        rows = np.arange(len(part))
        first[at] = best = part.argmax(1)
        if part.shape[1] > 1:
            highest = part[rows, best]
            part[rows, best] = -np.inf
            second[at] = part.argmax(1)
            margin[at] = highest - part.max(1)
    return TopTwo(first, second, margin)
