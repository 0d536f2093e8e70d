"""Weights of quantized layers: fitted to their quantized input, rounded, biases corrected.

A quantized layer reads x̂, its float input x after quantization. Over the calibration images

    W' = argmin E|W(x − x̄) − W'(x̂ − x̂̄)|² + λ|W' − W|²

removes the part of the error that the layer can compensate, such as the shape of a table-driven
GELU; λ is the recipe's `fit` times the mean variance of x̂ times unknowns over observations, so that
few images change the weights little. The weights are then rounded to the nearest, or by GPTQ (see
`gptq.py`). The mean error that remains is subtracted from the bias.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from scipy.linalg import solve

from edgenext.graph.sites import first_input, is_depthwise
from edgenext.quantize.calibrate import Floats, TensorStats
from edgenext.quantize.gptq import gptq
from edgenext.quantize.moments import Moments, QuantizedLayer, input_moments, layer_constant
from edgenext.quantize.plan import Plan
from edgenext.quantize.ranges import QParams, snap
from edgenext.quantize.recipe import Recipe, Weights
from edgenext.system.progress import Progress, quiet
from edgenext.system.threads import in_threads

CLIPPED = np.linspace(1.0, 0.5, 26)
"""Shares of the largest int4 weight that are tried as the range."""
INT4_LIMIT = 7
"""The largest level of symmetric int4 weights."""
INT32_HEADROOM = 2**30
"""Largest quantized bias: half of what int32 holds, which leaves room for the accumulator."""


@dataclass(frozen=True)
class LayerWeights:
    """A layer's weights, their scale for each output channel, and its float bias.

    With `int4` the levels are within ±7 and stored in 4 bits.
    """

    levels: NDArray[np.int8]
    scales: NDArray[np.float32]
    bias: NDArray[np.float64]
    int4: bool = False


def layer_weights(
    plan: Plan,
    params: Mapping[ir.Value, QParams],
    stats: Mapping[str, TensorStats],
    recipe: Recipe,
    progress: Progress = quiet,
) -> dict[ir.Node, LayerWeights]:
    """Quantized weights and biases of all planned layers.

    Args:
        plan: what will be quantized.
        params: scale and zero point of its tensors.
        stats: of the tensors that layers read.
        recipe: how to round.
        progress: called after every layer.
    """
    options = recipe.weights
    assert options is not None  # noqa: S101 - parse_recipe requires the section
    int4 = {node for site in plan.sites if site.kind in options.int4 for node in site.nodes}
    narrow = options.model_copy(update={"limit": INT4_LIMIT})

    def rounded(node: ir.Node) -> LayerWeights:
        layer = QuantizedLayer(
            node,
            layer_constant(node, 1),
            layer_constant(node, 2),
            params[first_input(node)].scale,
            input_moments(node, plan, params, stats, recipe) if options.needs_inputs else None,
        )
        weights = round_layer(layer, narrow if node in int4 else options)
        return replace(weights, int4=node in int4)

    layers = plan.layers
    weights = {}
    for done, (node, result) in enumerate(zip(layers, in_threads(rounded, layers), strict=True), 1):
        weights[node] = result
        progress("rounding weights", done, len(layers))
    return weights


def round_layer(layer: QuantizedLayer, options: Weights) -> LayerWeights:
    """Fit, round and correct one layer."""
    rows = layer.weight.reshape(len(layer.weight), -1)
    moments = layer.moments
    if moments is None:
        scales = _scales(rows, layer, options)
        return LayerWeights(_nearest(rows, scales, options.limit, layer), scales, layer.bias)
    if is_depthwise(layer.node):
        return _round_depthwise(layer, rows, moments, options)
    square = moments.square
    target = _fit(rows, moments, options.fit) if options.fit else rows
    scales = _scales(target, layer, options, np.diag(square))
    if options.rounding == "gptq":
        levels = gptq(target, scales, square, options.limit).reshape(layer.weight.shape)
    else:
        levels = _nearest(target, scales, options.limit, layer)
    bias = layer.bias
    if options.correct_bias:
        rounded = levels.reshape(rows.shape) * scales[:, None].astype(np.float64)
        bias = bias + rows @ moments.mean - rounded @ moments.quantized_mean
    return LayerWeights(levels, scales, bias)


def _round_depthwise(
    layer: QuantizedLayer, rows: Floats, moments: Moments, options: Weights
) -> LayerWeights:
    """To the nearest: a channel has few weights, and no other channel can compensate for them."""
    scales = _scales(rows, layer, options)
    levels = _nearest(rows, scales, options.limit, layer)
    bias = layer.bias
    if options.correct_bias:
        rounded = levels.reshape(rows.shape).sum(1) * scales.astype(np.float64)
        bias = bias + rows.sum(1) * moments.mean - rounded * moments.quantized_mean
    return LayerWeights(levels, scales, bias)


def weight_scales(
    weight: NDArray[np.floating], bias: NDArray[np.floating], input_scale: float, limit: int
) -> NDArray[np.float32]:
    """Symmetric scales, one an output channel, that keep weights in ±limit and biases in int32."""
    largest = np.abs(weight.reshape(len(weight), -1)).max(1)
    for_bias = np.abs(bias) / (input_scale * INT32_HEADROOM)
    return snap(np.maximum.reduce([largest / limit, for_bias, np.full(len(weight), 1e-12)]))


def _scales(
    rows: Floats, layer: QuantizedLayer, options: Weights, variances: Floats | None = None
) -> NDArray[np.float32]:
    """Scales of weights; few levels clip the largest where that makes the error smaller."""
    limit = options.limit
    scales = weight_scales(rows, layer.bias, layer.input_scale, limit)
    if limit <= INT4_LIMIT:
        scales = np.maximum(scales * _least_error(rows, scales, limit, variances), 1e-12)
        scales = snap(scales)
    return scales if options.per_channel else np.full_like(scales, scales.max())


def _least_error(
    rows: Floats, scales: NDArray[np.float32], limit: int, variances: Floats | None
) -> NDArray[np.float32]:
    """The share of each row's scale with the least squared error of the layer's output."""
    importance = np.ones(rows.shape[1]) if variances is None else variances

    def error(share: float) -> Floats:
        step = (share * scales.astype(np.float64))[:, None]
        difference = np.clip(np.round(rows / step), -limit, limit) * step - rows
        return np.asarray(np.square(difference) @ importance)

    errors = np.stack([error(share) for share in CLIPPED])
    return np.asarray(CLIPPED[errors.argmin(0)], np.float32)


def _nearest(
    rows: Floats, scales: NDArray[np.float32], limit: int, layer: QuantizedLayer
) -> NDArray[np.int8]:
    levels = np.clip(np.round(rows / scales[:, None]), -limit, limit)
    return levels.reshape(layer.weight.shape).astype(np.int8)


def _fit(rows: Floats, moments: Moments, fit: float) -> Floats:
    """The weights with the least squared error on x̂, held near the network's own."""
    square = moments.square
    size = len(square)
    prior = max(fit * np.trace(square) / size * size / moments.count, 1e-12)
    system = square + prior * np.eye(size)
    target = (rows @ moments.cross + prior * rows).T
    return np.asarray(solve(system, target, assume_a="pos", check_finite=False).T)
