"""Calibration: one streaming pass that sees every tensor of the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from edgenext.errors import DataError
from edgenext.runtimes.onnxruntime import inference_session

SAMPLES_PER_BATCH = 512
"""Values kept of each tensor and batch, drawn at random: memory stays bounded."""

FloatArray = NDArray[np.float64]


@dataclass
class TensorStats:
    """What calibration saw of one tensor.

    `low` and `high` are exact; `sample` holds random values; `channel_mean` is the mean of axis 1.
    """

    low: float = np.inf
    high: float = -np.inf
    count: int = 0
    channel_sum: FloatArray | float = 0.0
    samples: list[NDArray[np.float32]] | None = None

    def update(self, x: NDArray[np.float32], rng: np.random.Generator) -> None:
        """Add one batch of values, N×C×… ."""
        self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))
        axes = tuple(i for i in range(x.ndim) if i != 1)
        self.channel_sum = self.channel_sum + x.mean(axes, dtype=np.float64)
        self.count += 1
        flat = x.reshape(-1)
        self.samples = [] if self.samples is None else self.samples
        self.samples.append(flat[rng.integers(0, len(flat), min(len(flat), SAMPLES_PER_BATCH))])

    @property
    def channel_mean(self) -> FloatArray:
        """Mean of each channel."""
        return np.asarray(self.channel_sum) / self.count

    @property
    def sample(self) -> NDArray[np.float32]:
        """Random values of the tensor, with its two extremes."""
        return np.concatenate(
            (*(self.samples or []), np.asarray([self.low, self.high], np.float32))
        )


def calibrate(
    model: onnx.ModelProto,
    tensors: Sequence[str],
    batches: Iterable[NDArray[np.generic]],
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> dict[str, TensorStats]:
    """Statistics of the named tensors over prepared input batches.

    Raises:
        DataError: a tensor takes values that are not finite.
    """
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    inputs = {i.name for i in model.graph.input}
    known = inputs | {o.name for o in model.graph.output}
    for name in tensors:
        if name not in known:
            probe.graph.output.append(
                onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            )
    session = inference_session(probe.SerializeToString(), 0)
    wanted = [t for t in tensors if t not in inputs]
    rng = np.random.default_rng(seed)
    stats = {name: TensorStats() for name in tensors}
    for i, batch in enumerate(batches):
        values = dict(zip(wanted, session.run(wanted, {"input": batch}), strict=True))
        for name in tensors:
            stats[name].update(values.get(name, batch), rng)
        if progress:
            progress(i + 1)
    for name, s in stats.items():
        if not np.isfinite([s.low, s.high]).all():
            raise DataError(f"calibration drove {name} to values that are not finite")
    return stats
