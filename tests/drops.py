"""A paired drop of given counts."""

from __future__ import annotations

import numpy as np

from edgenext.metrics.accuracy import paired_drop
from edgenext.schema import Drop


def drop_of(lost: int, gained: int, n: int) -> Drop:
    """Of n images `lost` are right for the base alone and `gained` for the other alone."""
    base, other = np.ones(n, bool), np.ones(n, bool)
    base[:gained] = False
    other[gained : gained + lost] = False
    return paired_drop(base, other)
