"""Weights for what their layer really reads: fitted, rounded with care, biases corrected.

A quantized layer reads x̂, what is left of its float input x. Over the calibration images

    W' = argmin E|W(x − x̄) − W'(x̂ − x̂̄)|² + λ|W' − W|²

takes out what of the error the layer can see, such as the shape of a table-driven GELU; λ is the
recipe's `fit` times the mean variance of x̂ times unknowns over observations, so that few images
move the weights little. GPTQ (Frantar et al. 2022) then rounds one input after the other, the
largest first, and lets those that follow make up for the error. What is left of the mean error goes
into the bias.
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
from edgenext.graph.sites import is_depthwise, read
from edgenext.quantize import gated_activation as gate
from edgenext.quantize.calibrate import Batches, Floats, reader
from edgenext.quantize.gptq import gptq
from edgenext.quantize.plan import Plan
from edgenext.quantize.qdq import LayerWeights, weight_scales
from edgenext.quantize.ranges import QParams
from edgenext.quantize.recipe import Recipe, Weights
from edgenext.system.progress import Progress, quiet

ROWS = 256
"""Positions of each image that are looked at: neighbours say nearly the same."""

MULTIPLIED = 2048
"""Rows that are multiplied at once: a product of few rows is all memory traffic."""


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
    waiting: list[tuple[Floats, Floats]] = field(default_factory=list)

    def update(self, x: NDArray[Any], quantized: NDArray[Any]) -> None:
        """Add rows of inputs; they are multiplied once there are enough of them."""
        self.waiting.append((x.astype(np.float64), quantized.astype(np.float64)))
        if sum(len(a) for a, _ in self.waiting) >= MULTIPLIED:
            self.flush()

    def flush(self) -> None:
        """Multiply the rows that wait."""
        if not self.waiting:
            return
        a, b = (np.concatenate(parts) for parts in zip(*self.waiting, strict=True))
        self.waiting.clear()
        self.count += len(a)
        self.mean = self.mean + a.sum(0)
        self.quantized_mean = self.quantized_mean + b.sum(0)
        self.cross = self.cross + a.T @ b
        self.square = self.square + b.T @ b

    def centred(self) -> tuple[Floats, Floats, Floats, Floats]:
        """x̄, the mean of x̂, the covariance of x and x̂, and that of x̂."""
        a, b = self.mean / self.count, self.quantized_mean / self.count
        cross = self.cross / self.count - np.outer(a, b)
        return a, b, cross, self.square / self.count - np.outer(b, b)


@dataclass(frozen=True)
class Layer:
    """A layer's constants and how its input is quantized."""

    node: ir.Node
    weight: Floats
    bias: Floats
    scale: float
    moments: Moments = field(default_factory=Moments)


def layer_weights(
    model: onnx.ModelProto,
    plan: Plan,
    params: Mapping[ir.Value, QParams],
    batches: Batches,
    recipe: Recipe,
    progress: Progress = quiet,
) -> dict[ir.Node, LayerWeights]:
    """Quantized weights and biases of all planned layers.

    Args:
        model: the float graph the plan is of.
        plan: what will be quantized.
        params: ranges of its tensors.
        batches: calibration inputs.
        recipe: how to round.
        progress: told of every batch.
    """
    how = recipe.weights
    assert how is not None  # noqa: S101 - parse_recipe saw to it
    layers = [Layer(n, constant(n, 1), constant(n, 2), params[read(n)].scale) for n in plan.layers]
    if how.correct_bias or how.fit or how.rounding == "gptq":
        _gather(model, plan, layers, params, batches, recipe, progress)
    return {layer.node: solve(layer, how) for layer in layers}


def constant(node: ir.Node, index: int) -> Floats:
    """A layer's weight (1) or bias (2)."""
    value = node.inputs[index] if len(node.inputs) > index else None
    if value is None or value.const_value is None:
        raise ArtifactError(f"{node.name} has weights that are no constants of the graph")
    return np.asarray(value.const_value.numpy(), np.float64)


def solve(layer: Layer, how: Weights) -> LayerWeights:
    """Fit, round and correct one layer."""
    rows = layer.weight.reshape(len(layer.weight), -1)
    moments = layer.moments
    if not moments.count:
        scales = _scales(rows, layer, how)
        return LayerWeights(_nearest(rows, scales, how.limit, layer), scales, layer.bias)
    if is_depthwise(layer.node):
        return _solve_depthwise(layer, rows, how)
    mean, quantized_mean, cross, square = moments.centred()
    target = _fit(rows, cross, square, moments.count, how.fit) if how.fit else rows
    scales = _scales(target, layer, how)
    if how.rounding == "gptq":
        levels = gptq(target, scales, square, how.limit).reshape(layer.weight.shape)
    else:
        levels = _nearest(target, scales, how.limit, layer)
    bias = layer.bias
    if how.correct_bias:
        kept = levels.reshape(rows.shape) * scales[:, None].astype(np.float64)
        bias = bias + rows @ mean - kept @ quantized_mean
    return LayerWeights(levels, scales, bias)


def _solve_depthwise(layer: Layer, rows: Floats, how: Weights) -> LayerWeights:
    """Few weights a channel and no other channel to make up for them: rounded to the nearest."""
    scales = _scales(rows, layer, how)
    levels = _nearest(rows, scales, how.limit, layer)
    bias = layer.bias
    if how.correct_bias:
        m = layer.moments
        kept = levels.reshape(rows.shape).sum(1) * scales.astype(np.float64)
        bias = bias + rows.sum(1) * m.mean / m.count - kept * m.quantized_mean / m.count
    return LayerWeights(levels, scales, bias)


def _scales(rows: Floats, layer: Layer, how: Weights) -> NDArray[np.float32]:
    scales = weight_scales(rows, layer.bias, layer.scale, how.limit)
    return scales if how.per_channel else np.full_like(scales, scales.max())


def _nearest(
    rows: Floats, scales: NDArray[np.float32], limit: int, layer: Layer
) -> NDArray[np.int8]:
    levels = np.clip(np.round(rows / scales[:, None]), -limit, limit)
    return levels.reshape(layer.weight.shape).astype(np.int8)


def _fit(rows: Floats, cross: Floats, square: Floats, count: int, fit: float) -> Floats:
    """The weights with the least squared error on x̂, held near the network's own."""
    size = len(square)
    pull = max(fit * np.trace(square) / size * size / count, 1e-12)
    left = square + pull * np.eye(size)
    return np.asarray(np.linalg.solve(left.T, (rows @ cross + pull * rows).T).T)


def _gather(
    model: onnx.ModelProto,
    plan: Plan,
    layers: list[Layer],
    params: Mapping[ir.Value, QParams],
    batches: Batches,
    recipe: Recipe,
    progress: Progress,
) -> None:
    """Fill in the layers' moments in one pass over the float graph.

    x̂ is x rounded as the layer will read it; behind a gate, all of the gate's roundings are in it.
    Errors from further up are not: every layer takes out its own, and none is taken out twice.
    """
    gates = {node.outputs[0]: node for node in plan.gates}
    sources = {layer.node: read(layer.node) for layer in layers}
    wanted = {str(v.name) for v in sources.values()}
    wanted |= {str(read(gates[v]).name) for v in sources.values() if v in gates}
    values = reader(model, sorted(wanted))
    rng = np.random.default_rng(0)
    for i in range(len(batches)):
        seen = values(batches[i])
        for layer in layers:
            source = sources[layer.node]
            x = seen[str(source.name)]
            if source in gates:
                before = read(gates[source])
                assert recipe.gate is not None  # noqa: S101 - there are gates
                quantized = gate.simulate(
                    gates[source],
                    recipe.gate,
                    seen[str(before.name)],
                    params[before],
                    params[source],
                )
            else:
                quantized = params[source].fake_quantize(x)
            _add(layer, x, quantized.astype(np.float32), rng)
        progress("rounding weights", i + 1, len(batches))
    for layer in layers:
        layer.moments.flush()


def _add(
    layer: Layer, x: NDArray[Any], quantized: NDArray[np.float32], rng: np.random.Generator
) -> None:
    if is_depthwise(layer.node):
        m = layer.moments
        m.count += 1
        m.mean = m.mean + x.mean((0, 2, 3), dtype=np.float64)
        m.quantized_mean = m.quantized_mean + quantized.mean((0, 2, 3), dtype=np.float64)
        return
    a, b = positions(layer.node, x), positions(layer.node, quantized)
    if len(a) > ROWS * len(x):
        at = rng.choice(len(a), ROWS * len(x), replace=False)
        a, b = a[at], b[at]
    layer.moments.update(a, b)


def positions(node: ir.Node, x: NDArray[Any]) -> NDArray[Any]:
    """What a layer multiplies with its weights: positions × inputs.

    The convolutions that are not depth-wise are 1×1, or cut the image into patches.
    """
    if x.ndim == 2:
        return x
    size = constant(node, 1).shape[2]
    n, c, h, w = x.shape
    if size == 1:
        return x.transpose(0, 2, 3, 1).reshape(-1, c)
    high, wide = h // size, w // size
    patches = x[:, :, : high * size, : wide * size].reshape(n, c, high, size, wide, size)
    return patches.transpose(0, 2, 4, 1, 3, 5).reshape(n * high * wide, c * size * size)
