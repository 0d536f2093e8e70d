"""What a format's `profile.py` returns: the times of its runtime's operators, and its peak.

A folder of a runtime that can say how long each operator takes has `profile.py` with
`profile(artifact, inputs, threads, n)`, which returns a `RuntimeProfile`.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PEAK_SIZE = 768
"""Rows and columns of the matrices whose product shows the peak."""
PEAK_S = 0.3
"""Seconds for which each is repeated."""


@dataclass(frozen=True)
class NodeTime:
    """An operator that a runtime executes: milliseconds an inference, and its multiply-adds.

    `site` is the network's module that it belongs to, empty for what the runtime added;
    `precision` that of its products, a key of the peaks.
    """

    name: str
    operator: str
    site: str
    ms: float
    macs: int | None
    precision: str


@dataclass(frozen=True)
class RuntimeProfile:
    """The operators of a file in their order.

    `p50_ms` is the median of whole inferences without a profile; `peaks` are multiply-adds a
    second by precision.
    """

    runtime: str
    nodes: list[NodeTime]
    p50_ms: float
    peaks: dict[str, float]


def median_ms(infer: Callable[[], object], n: int) -> float:
    """The median of n inferences in ms; one more comes before them."""
    times = []
    for _ in range(n + 1):
        start = time.perf_counter()
        infer()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[1:])


def peak_rate(multiply: Callable[[], object]) -> float:
    """Multiply-adds a second of the fastest of repeated products of matrices of `PEAK_SIZE`."""
    best, end = math.inf, time.monotonic() + PEAK_S
    while time.monotonic() < end or best == math.inf:
        start = time.perf_counter()
        multiply()
        best = min(best, time.perf_counter() - start)
    return PEAK_SIZE**3 / best


def peak_matrices() -> dict[str, tuple[NDArray[np.generic], NDArray[np.generic]]]:
    """The matrices of the products, by type.

    Of bytes, the left one is uint8 and the right int8, as in our files; the values are small, so
    that no CPU's sums saturate.
    """
    rng = np.random.default_rng(0)
    size = (PEAK_SIZE, PEAK_SIZE)
    return {
        "float32": (rng.standard_normal(size, np.float32), rng.standard_normal(size, np.float32)),
        "int8": (rng.integers(0, 64, size, np.uint8), rng.integers(-32, 32, size, np.int8)),
    }
