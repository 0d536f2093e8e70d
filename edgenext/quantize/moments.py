"""First and second moments of the inputs of layers, from rows that calibration has kept.

A quantized layer reads x̂, its float input x after quantization. Only the error of the layer's own
input is included, not that of earlier layers: every layer compensates its own error, and none is
compensated twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgenext.errors import ArtifactError
from edgenext.graph.sites import ACTIVATIONS, first_input, is_depthwise
from edgenext.quantize.calibrate import Floats, TensorStats
from edgenext.quantize.gated_activation import exact, simulate
from edgenext.quantize.layer_inputs import kernel_size
from edgenext.quantize.plan import Plan
from edgenext.quantize.ranges import QParams
from edgenext.quantize.recipe import Recipe

EXACT = 1 << 24
"""Whole numbers below it are exact in float32, and so is any sum of them in any order."""
MULTIPLIED, FEW = 2048, 64
"""Rows that are multiplied at once: at most, and so few that float64 is faster."""

Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Moments:
    """The means of a layer's float input x and quantized input x̂, and their covariances.

    `cross` is that of x and x̂, `square` that of x̂; a depth-wise layer has none.
    """

    count: int
    mean: Floats
    quantized_mean: Floats
    cross: Floats
    square: Floats


@dataclass(frozen=True)
class QuantizedLayer:
    """A planned layer: its float constants, the scale of its input, and that input's moments."""

    node: ir.Node
    weight: Floats
    bias: Floats
    input_scale: float
    moments: Moments | None = field(default=None, repr=False)


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


def kept_inputs(plan: Plan) -> dict[str, int]:
    """The tensors whose rows `input_moments` needs, with the size of their layer's kernel.

    Behind a gate that is the gate's input, since its output follows from it.
    """
    gates = {node.outputs[0]: node for node in plan.gates}
    sizes = {}
    for node in plan.layers:
        source = first_input(node)
        if source in gates:
            source = first_input(gates[source])
        sizes[str(source.name)] = 1 if is_depthwise(node) else kernel_size(node)
    return sizes


def input_moments(
    node: ir.Node,
    plan: Plan,
    params: Mapping[ir.Value, QParams],
    stats: Mapping[str, TensorStats],
    recipe: Recipe,
) -> Moments:
    """The moments of a layer's input.

    x̂ is x rounded as the layer will read it; behind a gate it has all of the gate's roundings.
    """
    source = first_input(node)
    gate = next((gate for gate in plan.gates if gate.outputs[0] is source), None)
    if gate is None:
        x = _rows(stats, source)
        levels = params[source].steps(x)
    else:
        before = first_input(gate)
        assert recipe.gate is not None  # noqa: S101 - the plan has gates
        inner, x = _rows(stats, before), _rows(stats, source)
        levels = simulate(gate, recipe.gate, inner, params[before], params[source])
    x, levels = (rows.reshape(len(rows), -1) for rows in (x, levels))
    if is_depthwise(node):
        nothing = np.empty((0, 0))
        mean, quantized = x.mean(0, dtype=np.float64), levels.mean(0, dtype=np.float64)
        return Moments(len(x), mean, quantized * params[source].scale, nothing, nothing)
    return moments_of(x, levels, params[source].scale)


def _rows(stats: Mapping[str, TensorStats], value: ir.Value) -> Rows:
    """The rows of a tensor: kept, or computed by the activation whose input was kept."""
    rows = stats[str(value.name)].rows
    if rows is None:  # a variant of the recipe leaves the activation in float
        activation = value.producer()
        assert activation is not None and activation.op_type in ACTIVATIONS  # noqa: S101
        return exact(activation, _rows(stats, first_input(activation)))
    return rows


def moments_of(x: Rows, levels: Rows, scale: float) -> Moments:
    """The moments of a layer's input, rows × inputs, and of levels · scale, which it reads instead.

    Products of levels are whole numbers, which float32 adds without an error; x is the levels and a
    small remainder, whose products need fewer digits.

    Args:
        x: the float input.
        levels: the quantized values less their zero point.
        scale: of the levels.
    """
    count, size = x.shape
    rest = x - levels * np.float32(scale)
    square, cross = np.zeros((size, size)), np.zeros((size, size))
    exact_rows = int(EXACT // float(np.abs(levels).max(initial=1.0)) ** 2)
    wide = exact_rows < FEW  # levels of 16 bits
    step = MULTIPLIED if wide else min(exact_rows, MULTIPLIED)
    for start in range(0, count, step):
        part = levels[start : start + step]
        part = part.astype(np.float64) if wide else part
        square += part.T @ part
    for start in range(0, count, MULTIPLIED):
        stop = start + MULTIPLIED
        cross += rest[start:stop].T @ levels[start:stop]
    mean = x.mean(0, dtype=np.float64)
    quantized = levels.mean(0, dtype=np.float64) * scale
    square *= scale**2 / count
    cross *= scale / count
    cross += square
    return Moments(
        count,
        mean,
        quantized,
        cross - np.outer(mean, quantized),
        square - np.outer(quantized, quantized),
    )
