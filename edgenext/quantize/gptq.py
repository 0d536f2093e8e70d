"""GPTQ: later weights compensate the rounding of earlier ones (Frantar et al. 2022)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dtrtri

from edgenext.quantize.calibrate import Floats

BLOCK = 64
"""Inputs that are rounded before all later ones are updated."""

DAMPING = 0.01
"""Share of the mean variance that is added to every variance before the inversion."""


def gptq(rows: Floats, scales: NDArray[np.float32], square: Floats, limit: int) -> NDArray[np.int8]:
    """Round one input after the other, that of the largest variance first.

    Args:
        rows: outputs × inputs, the weights.
        scales: one an output.
        square: inputs × inputs, the covariance of the quantized inputs.
        limit: of the levels.

    Returns:
        outputs × inputs, levels within ±limit.
    """
    size = len(square)
    damped = square + (DAMPING * np.trace(square) / size + 1e-12) * np.eye(size)
    order = np.argsort(-np.diag(damped), kind="stable")
    upper = _root_of_inverse(damped[np.ix_(order, order)])
    # one row an input: its weights of all outputs lie side by side in memory
    rest, step = np.ascontiguousarray(rows[:, order].T), scales.astype(np.float64)
    levels, errors = np.empty_like(rest), np.empty((len(rows), BLOCK))
    for start in range(0, size, BLOCK):
        stop = min(start + BLOCK, size)
        for j in range(start, stop):
            levels[j] = np.clip(np.round(rest[j] / step), -limit, limit)
            error = (rest[j] - levels[j] * step) / upper[j, j]
            rest[j + 1 : stop] -= np.outer(upper[j, j + 1 : stop], error)
            errors[:, j - start] = error
        rest[stop:] -= (errors[:, : stop - start] @ upper[start:stop, stop:]).T
    return levels[np.argsort(order)].T.astype(np.int8)


def _root_of_inverse(matrix: Floats) -> Floats:
    """The upper triangular U with UᵀU = the inverse of a positive definite matrix.

    Backwards, the matrix is LLᵀ and U the inverse of L: a fourth of the work of an inversion and
    the factorization of its result.
    """
    lower = np.linalg.cholesky(matrix[::-1, ::-1])
    inverse, _ = dtrtri(lower, lower=1)
    return np.ascontiguousarray(inverse[::-1, ::-1])
