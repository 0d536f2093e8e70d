"""What a format's `profile.py` returns: the times of its runtime's operators, and its peak.

A folder of a runtime that can say how long each operator takes has `profile.py` with
`profile(artifact, inputs, threads, n)`, which returns a `RuntimeProfile`.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Container, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PEAK_SIZE = 768
"""Rows and columns of the matrices whose product shows the peak."""
PEAK_S = 0.3
"""Seconds for which each is repeated."""
SHAPE_S = 0.05
"""Seconds for which a product of the shape of a layer is repeated."""
COPIED = 1 << 20
"""Bytes of the arrays whose copying shows the bandwidth: as large as the network's tensors."""

Shape = tuple[int, int, int]
"""A matrix product: rows × terms · terms × columns."""
PEAK_SHAPE: Shape = (PEAK_SIZE, PEAK_SIZE, PEAK_SIZE)


@dataclass(frozen=True)
class NodeTime:
    """An operator that a runtime executes: milliseconds an inference, and its multiply-adds.

    `site` is the network's module that it belongs to, empty for what the runtime added;
    `precision` that of its products, a key of the peaks. `shape` is the matrix product that it
    is, None for one that is none; `moved` the bytes that it reads and writes.
    """

    name: str
    operator: str
    site: str
    ms: float
    macs: int | None
    precision: str
    shape: Shape | None = None
    moved: int | None = None


@dataclass(frozen=True)
class RuntimeProfile:
    """The operators of a file in their order.

    `p50_ms` is the median of whole inferences without a profile; `peaks` are multiply-adds a
    second by precision, `shape_rates` those of the runtime's matrix product by precision and shape.
    """

    runtime: str
    nodes: list[NodeTime]
    p50_ms: float
    peaks: dict[str, float]
    shape_rates: dict[tuple[str, Shape], float]

    def limit_ms(self, node: NodeTime, bandwidth: float) -> float | None:
        """The least milliseconds of an operator: its products at their rate, or its bytes.

        Args:
            node: one of the profile's.
            bandwidth: bytes a second.
        """
        rate = self.peaks.get(node.precision)
        if node.shape and rate:
            rate = max(rate, self.shape_rates.get((node.precision, node.shape), 0.0))
        computing = 1000 * node.macs / rate if node.macs and rate else 0.0
        moving = 1000 * node.moved / bandwidth if node.moved else 0.0
        return max(computing, moving) or None


def median_ms(infer: Callable[[], object], n: int) -> float:
    """The median of n inferences in ms; one more comes before them."""
    times = []
    for _ in range(n + 1):
        start = time.perf_counter()
        infer()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[1:])


def peak_rate(
    multiply: Callable[[], object], shape: Shape = PEAK_SHAPE, seconds: float = PEAK_S
) -> float:
    """Multiply-adds a second of the fastest of repeated products of a shape."""
    return math.prod(shape) / _fastest_s(multiply, seconds)


def bandwidth(threads: int = 1) -> float:
    """Bytes a second that copying arrays reads and writes, on as many threads at once."""

    def copying(_: int) -> float:
        source = np.zeros(COPIED, np.uint8)
        target = np.ones_like(source)
        return 2 * COPIED / _fastest_s(lambda: np.copyto(target, source), SHAPE_S)

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(copying, range(threads)))


def _fastest_s(function: Callable[[], object], seconds: float) -> float:
    """The least time of a call that is repeated for some seconds."""
    best, end = math.inf, time.monotonic() + seconds
    while time.monotonic() < end or best == math.inf:
        start = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - start)
    return best


def peak_matrices(
    shape: Shape = PEAK_SHAPE,
) -> dict[str, tuple[NDArray[np.generic], NDArray[np.generic]]]:
    """The matrices of a product, by type.

    Of bytes, the left one is uint8 and the right int8, as in our files; the values are small, so
    that no CPU's sums saturate.
    """
    rng = np.random.default_rng(0)
    left, right = shape[:2], shape[1:]
    return {
        "float32": (rng.standard_normal(left, np.float32), rng.standard_normal(right, np.float32)),
        "int8": (rng.integers(0, 64, left, np.uint8), rng.integers(-32, 32, right, np.int8)),
    }


def shapes_of(nodes: Iterable[NodeTime], precisions: Container[str]) -> set[tuple[str, Shape]]:
    """The shapes of the products of some operators, by precision."""
    return {(n.precision, n.shape) for n in nodes if n.shape and n.precision in precisions}
