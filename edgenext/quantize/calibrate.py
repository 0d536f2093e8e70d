"""Calibration: statistics of a graph's tensors, in one streaming pass over prepared images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgenext.errors import DataError
from edgenext.formats.onnx.session import inference_session
from edgenext.quantize.batches import Batches
from edgenext.quantize.layer_inputs import RowSampler
from edgenext.system.progress import Progress, quiet
from edgenext.system.threads import prefetched

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


@dataclass
class _RunningStats:
    """Statistics of one tensor, updated batch by batch."""

    low: Any = np.inf
    high: Any = -np.inf
    values: list[NDArray[np.float32]] = field(default_factory=list)
    channels: list[NDArray[np.int32]] = field(default_factory=list)
    rows: NDArray[np.float32] | None = None

    def keep_rows(self, rows: NDArray[np.float32], i: int, batches: int) -> None:
        """Keep the rows of the i-th batch; each has as many."""
        if self.rows is None:
            self.rows = np.empty((batches * len(rows), *rows.shape[1:]), np.float32)
        self.rows[i * len(rows) : (i + 1) * len(rows)] = rows

    def update(self, x: NDArray[np.float32], samples: int, rng: np.random.Generator) -> None:
        rows = x.reshape(len(x), x.shape[1], -1) if x.ndim > 2 else x[..., None]
        self.low = np.minimum(self.low, rows.min((0, 2)))
        self.high = np.maximum(self.high, rows.max((0, 2)))
        at = rng.integers(0, rows.size, min(rows.size, samples))
        self.values.append(rows.reshape(-1)[at])
        self.channels.append((at // rows.shape[2] % rows.shape[1]).astype(np.int32))

    def finish(self) -> TensorStats:
        return TensorStats(
            low=np.asarray(self.low, np.float64),
            high=np.asarray(self.high, np.float64),
            values=np.concatenate(self.values),
            channels=np.concatenate(self.channels),
            rows=self.rows,
        )


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
    read_tensors = tensor_reader(model, tensors)
    samples = int(np.clip(SAMPLE // max(len(batches), 1), FEWEST, MOST))
    rng = np.random.default_rng(seed)
    running = {name: _RunningStats() for name in tensors}
    sampler = RowSampler(kernels or {}, len(batches))
    read = prefetched(lambda i: read_tensors(batches[i]), range(len(batches)))
    for i, values in enumerate(read):
        sampler.next_batch()
        for name, value in values.items():
            running[name].update(value, samples, rng)
            if name in sampler.sizes:
                running[name].keep_rows(sampler.rows(name, value), i, len(batches))
        progress("calibrating", i + 1, len(batches))
    stats = {name: r.finish() for name, r in running.items()}
    for name, s in stats.items():
        if not (np.isfinite(s.low).all() and np.isfinite(s.high).all()):
            raise DataError(
                f"{name} takes values that are not finite on the calibration images",
                "Check the images and the weights: the float network overflows on them",
            )
    return stats


def tensor_reader(
    model: onnx.ModelProto, tensors: Sequence[str]
) -> Callable[[NDArray[Any]], dict[str, NDArray[np.float32]]]:
    """A function from one prepared batch to the named tensors of a graph."""
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    entry = probe.graph.input[0].name
    known = {entry} | {o.name for o in probe.graph.output}
    for name in tensors:
        if name not in known:
            probe.graph.output.append(
                onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            )
    session = inference_session(probe.SerializeToString(), 0)
    outputs = [t for t in tensors if t != entry]

    def read_tensors(batch: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        values = dict(zip(outputs, session.run(outputs, {entry: batch}), strict=True))
        return {name: values.get(name, batch) for name in tensors}

    return read_tensors
