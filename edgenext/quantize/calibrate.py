"""Calibration: statistics of a graph's tensors, in one streaming pass over prepared images."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from edgenext.quantize.batches import Batches
from edgenext.quantize.layer_inputs import Positions, RowSampler
from edgenext.quantize.statistics_graph import BatchStatistics, StatisticsGraph, require_finite
from edgenext.system.progress import Progress, quiet
from edgenext.system.threads import in_threads

SAMPLE = 1 << 17
"""Values sampled of each tensor over all batches, at random: memory stays bounded."""
FEWEST, MOST = 16, 4096
"""Values sampled of each batch, at least and at most."""

Floats = NDArray[np.float64]


@dataclass
class TensorStats:
    """Statistics of one tensor over the calibration images, N×C×… .

    `low` and `high` are exact, one value a channel. `values` are random ones, `channels` the
    channel of each. Of what layers read there are `rows`, positions × C or positions × C × kernel ×
    kernel: see `layer_inputs.py`.
    """

    low: Floats
    high: Floats
    values: NDArray[np.float32]
    channels: NDArray[np.int32]
    rows: NDArray[np.float32] | None = None

    @property
    def sample(self) -> NDArray[np.float32]:
        """Random values of the tensor, with its two extremes."""
        ends = np.asarray([self.low.min(), self.high.max()], np.float32)
        return np.concatenate((self.values, ends))

    @property
    def square(self) -> Floats:
        """The mean of x² of each channel, over the random values; 0 of a channel without any."""
        channels = len(self.low)
        count = np.bincount(self.channels, minlength=channels)
        total = np.bincount(self.channels, np.square(self.values, dtype=np.float64), channels)
        return np.asarray(total / np.maximum(count, 1))

    @property
    def reach(self) -> Floats:
        """The largest magnitude of each channel."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    def scaled(self, scale: Floats) -> TensorStats:
        """The statistics of the same tensor with each channel divided by its scale."""
        rows = self.rows
        if rows is not None:
            rows = rows / scale.astype(np.float32).reshape(-1, *(1,) * (rows.ndim - 2))
        return TensorStats(
            low=self.low / scale,
            high=self.high / scale,
            values=(self.values / scale[self.channels]).astype(np.float32),
            channels=self.channels,
            rows=rows,
        )


class _RunningStats:
    """Statistics of one tensor, updated batch by batch, in any order and by several threads.

    Args:
        shape: of the tensor in a batch.
        rows: the shape of the rows of a batch that are kept; None where none are.
        values: how many are sampled of a batch.
        batches: how many there are.
    """

    def __init__(
        self, shape: Sequence[int], rows: Sequence[int] | None, values: int, batches: int
    ) -> None:
        self._inner, self._channels = math.prod(shape[2:]), shape[1]
        self._low, self._high = (np.full(shape[1], x, np.float64) for x in (np.inf, -np.inf))
        self._lock = threading.Lock()
        self._values = np.empty((batches, values), np.float32)
        self._at = np.empty((batches, values), np.int32)
        self._rows = None if rows is None else np.empty((batches, *rows), np.float32)

    def take(self, i: int, batch: BatchStatistics, at: Positions) -> None:
        """Take in the i-th batch, whose values are at these positions."""
        with self._lock:
            np.minimum(self._low, batch.low, out=self._low)
            np.maximum(self._high, batch.high, out=self._high)
        self._values[i] = batch.values
        self._at[i] = at // self._inner % self._channels
        if self._rows is not None:
            self._rows[i] = batch.rows

    def finish(self) -> TensorStats:
        rows = self._rows
        return TensorStats(
            low=self._low,
            high=self._high,
            values=self._values.reshape(-1),
            channels=self._at.reshape(-1),
            rows=None if rows is None else rows.reshape(-1, *rows.shape[2:]),
        )


@dataclass(frozen=True)
class _Positions:
    """Which values and which rows of each tensor are read of a batch."""

    batch: int
    values: Mapping[str, Positions]
    rows: Mapping[str, Positions | None]


def calibrate(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    batches: Batches,
    seed: int,
    progress: Progress = quiet,
    *,
    kernels: Mapping[str, int] | None = None,
) -> dict[str, TensorStats]:
    """Statistics of the named tensors over prepared input batches, in one pass.

    Args:
        model: a float graph.
        tensors: names of tensors in it.
        batches: its inputs.
        seed: of the sampled values.
        progress: called after every batch.
        kernels: the inputs of layers whose rows are kept, with the size of the layer's kernel.

    Raises:
        DataError: a tensor takes values that are not finite.
    """
    samples = int(np.clip(SAMPLE // max(len(batches), 1), FEWEST, MOST))
    rng = np.random.default_rng(seed)
    kernels = kernels or {}
    graph = StatisticsGraph(model, tensors, kernels, batches[0].shape)
    counts = {name: min(math.prod(shape), samples) for name, shape in graph.shapes.items()}
    sampler = RowSampler(kernels, len(batches))
    running = {
        name: _RunningStats(
            shape,
            sampler.shape(name, shape) if name in kernels else None,
            counts[name],
            len(batches),
        )
        for name, shape in graph.shapes.items()
    }

    def positions(i: int) -> _Positions:
        values = {n: rng.integers(0, math.prod(s), counts[n]) for n, s in graph.shapes.items()}
        sampler.next_batch()
        rows = {name: sampler.positions(name, graph.shapes[name]) for name in kernels}
        return _Positions(i, values, rows)

    def read(at: _Positions) -> None:
        statistics = graph.read(batches[at.batch], at.values, at.rows)
        for name, batch in statistics.items():
            running[name].take(at.batch, batch, at.values[name])

    for i, _ in enumerate(in_threads(read, map(positions, range(len(batches))))):
        progress("calibrating", i + 1, len(batches))
    stats = {name: r.finish() for name, r in running.items()}
    for name, s in stats.items():
        require_finite(s.low, name)
        require_finite(s.high, name)
    return stats
