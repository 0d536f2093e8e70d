"""First and second moments of the inputs of layers, gathered in one pass over the float graph.

A quantized layer reads x̂, its float input x after quantization. Only the error of the layer's own
input is included, not that of earlier layers: every layer compensates its own error, and none is
compensated twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from edgenext.errors import ArtifactError
from edgenext.graph.sites import first_input, is_depthwise
from edgenext.quantize.batches import Batches
from edgenext.quantize.calibrate import Floats, tensor_reader
from edgenext.quantize.gated_activation import simulate
from edgenext.quantize.plan import Plan
from edgenext.quantize.ranges import QParams
from edgenext.quantize.recipe import Recipe
from edgenext.system.progress import Progress

ROWS = 256
"""Positions read of each image: neighbouring ones are nearly equal."""

MULTIPLIED = 2048
"""Rows that are multiplied at once: a product of few rows only moves memory."""


@dataclass
class Moments:
    """First and second moments of a layer's float inputs x and quantized inputs x̂.

    Depth-wise layers have only the first: sums over batches of each channel's mean.
    """

    count: int = 0
    mean: Any = 0.0
    quantized_mean: Any = 0.0
    cross: Any = 0.0
    square: Any = 0.0
    pending: list[tuple[Floats, Floats]] = field(default_factory=list)

    def update(self, x: NDArray[Any], quantized: NDArray[Any]) -> None:
        """Add rows of inputs; they are multiplied once there are enough of them."""
        self.pending.append((x.astype(np.float64), quantized.astype(np.float64)))
        if sum(len(a) for a, _ in self.pending) >= MULTIPLIED:
            self.flush()

    def flush(self) -> None:
        """Multiply the pending rows."""
        if not self.pending:
            return
        a, b = (np.concatenate(parts) for parts in zip(*self.pending, strict=True))
        self.pending.clear()
        self.count += len(a)
        self.mean = self.mean + a.sum(0)
        self.quantized_mean = self.quantized_mean + b.sum(0)
        self.cross = self.cross + a.T @ b
        self.square = self.square + b.T @ b

    def centred(self) -> tuple[Floats, Floats, Floats, Floats]:
        """The mean of x, the mean of x̂, the covariance of x and x̂, and that of x̂."""
        a, b = self.mean / self.count, self.quantized_mean / self.count
        cross = self.cross / self.count - np.outer(a, b)
        return a, b, cross, self.square / self.count - np.outer(b, b)


@dataclass(frozen=True)
class QuantizedLayer:
    """A planned layer: its float constants, the scale of its input, and that input's moments."""

    node: ir.Node
    weight: Floats
    bias: Floats
    input_scale: float
    moments: Moments = field(default_factory=Moments)


def layer_constant(node: ir.Node, index: int) -> Floats:
    """A layer's weight (1) or bias (2).

    Raises:
        ArtifactError: it is not a constant of the graph.
    """
    value = node.inputs[index] if len(node.inputs) > index else None
    if value is None or value.const_value is None:
        raise ArtifactError(
            f"{node.name} has weights that are not constants of the graph",
            "Export it with edgenext export",
        )
    return np.asarray(value.const_value.numpy(), np.float64)


def gather_moments(
    model: onnx.ModelProto,
    plan: Plan,
    layers: list[QuantizedLayer],
    params: Mapping[ir.Value, QParams],
    batches: Batches,
    recipe: Recipe,
    progress: Progress,
) -> None:
    """Update the layers' moments, in place, in one pass over the float graph.

    x̂ is x rounded as the layer will read it; behind a gate it has all of the gate's roundings.
    """
    gates = {node.outputs[0]: node for node in plan.gates}
    sources = {layer.node: first_input(layer.node) for layer in layers}
    names = {str(v.name) for v in sources.values()}
    names |= {str(first_input(gates[v]).name) for v in sources.values() if v in gates}
    read_tensors = tensor_reader(model, sorted(names))
    rng = np.random.default_rng(0)
    for i in range(len(batches)):
        tensors = read_tensors(batches[i])
        for layer in layers:
            source = sources[layer.node]
            x = tensors[str(source.name)]
            if source in gates:
                before = first_input(gates[source])
                assert recipe.gate is not None  # noqa: S101 - the plan has gates
                quantized = simulate(
                    gates[source],
                    recipe.gate,
                    tensors[str(before.name)],
                    params[before],
                    params[source],
                )
            else:
                quantized = params[source].fake_quantize(x)
            _add_batch(layer, x, quantized.astype(np.float32), rng)
        progress("rounding weights", i + 1, len(batches))
    for layer in layers:
        layer.moments.flush()


def _add_batch(
    layer: QuantizedLayer,
    x: NDArray[Any],
    quantized: NDArray[np.float32],
    rng: np.random.Generator,
) -> None:
    if is_depthwise(layer.node):
        m = layer.moments
        m.count += 1
        m.mean = m.mean + x.mean((0, 2, 3), dtype=np.float64)
        m.quantized_mean = m.quantized_mean + quantized.mean((0, 2, 3), dtype=np.float64)
        return
    a, b = input_rows(layer.node, x), input_rows(layer.node, quantized)
    if len(a) > ROWS * len(x):
        at = rng.choice(len(a), ROWS * len(x), replace=False)
        a, b = a[at], b[at]
    layer.moments.update(a, b)


def input_rows(node: ir.Node, x: NDArray[Any]) -> NDArray[Any]:
    """The matrix that a layer multiplies by its weights: positions × inputs.

    Convolutions that are not depth-wise are 1×1, or cut the image into patches.
    """
    if x.ndim == 2:
        return x
    size = layer_constant(node, 1).shape[2]
    n, c, h, w = x.shape
    if size == 1:
        return x.transpose(0, 2, 3, 1).reshape(-1, c)
    rows, columns = h // size, w // size
    patches = x[:, :, : rows * size, : columns * size].reshape(n, c, rows, size, columns, size)
    return patches.transpose(0, 2, 4, 1, 3, 5).reshape(n * rows * columns, c * size * size)
