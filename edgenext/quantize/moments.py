"""First and second moments of the inputs of layers, from rows that calibration has kept.

A quantized layer reads x̂, its float input x after quantization. Only the error of the layer's own
input is included, not that of earlier layers: every layer compensates its own error, and none is
compensated twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgenext.errors import ArtifactError
from edgenext.graph.sites import first_input, is_depthwise
from edgenext.quantize.calibrate import Floats, TensorStats
from edgenext.quantize.gated_activation import exact, simulate
from edgenext.quantize.hard_gelu import before_hardening, hardened
from edgenext.quantize.layer_inputs import kernel_size
from edgenext.quantize.plan import Plan
from edgenext.quantize.ranges import LIMITS, QParams
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

    Behind an activation that is replaced that is its input, since both outputs follow from it.
    """
    gates = {node.outputs[0]: node for node in (*plan.gates, *plan.hard)}
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

    x̂ is x as the layer will read it: rounded, behind a gate with all of the gate's roundings, and
    behind a hard GELU with its difference from GELU.
    """
    source = first_input(node)
    q = params[source]
    gate = next((gate for gate in plan.gates if gate.outputs[0] is source), None)
    activation, kept = _kept(stats, source)
    hard = activation in plan.hard

    def both(rows: Rows) -> tuple[Rows, Rows]:
        """x, and the levels of x̂ less their zero point, of some of the rows that were kept."""
        if hard:
            assert recipe.hard_gelu is not None  # noqa: S101 - the plan has hard GELUs
            x = before_hardening(rows, recipe.hard_gelu)
            levels = q.steps(hardened(rows, recipe.hard_gelu))
        else:
            x = exact(activation, rows) if activation else rows
            if gate is None:
                levels = q.steps(x)
            else:
                assert recipe.gate is not None  # noqa: S101 - the plan has gates
                levels = simulate(gate, recipe.gate, rows, params[first_input(gate)], q)
        return x.reshape(len(x), -1), levels.reshape(len(x), -1)

    parts = (both(kept[i : i + MULTIPLIED]) for i in range(0, len(kept), MULTIPLIED))
    return moments_of(parts, q, products=not is_depthwise(node))


def _kept(
    stats: Mapping[str, TensorStats], value: ir.Value
) -> tuple[ir.Node | None, NDArray[np.float32]]:
    """The rows that were kept for a tensor, and the activation that they still have to go through.

    There is one where the rows of its input were kept, or where another variant of the recipe has a
    gate in its place.
    """
    rows = stats[str(value.name)].rows
    if rows is not None:
        return None, rows
    activation = value.producer()
    assert activation is not None  # noqa: S101 - see kept_inputs
    rows = stats[str(first_input(activation).name)].rows
    assert rows is not None  # noqa: S101 - see kept_inputs
    return activation, rows


def moments_of(parts: Iterable[tuple[Rows, Rows]], q: QParams, *, products: bool) -> Moments:
    """The moments of a layer's input x and of levels · scale, which it reads instead.

    Products of levels are whole numbers, which float32 adds without an error, most of them where
    they are counted from the middle of their range; x is the levels and a small remainder, whose
    products need fewer digits.

    Args:
        parts: some rows of x, and their quantized values less the zero point.
        q: of the levels.
        products: whether the covariances are wanted.
    """
    first, last = LIMITS[q.dtype]
    middle = (first + last + 1) // 2 - q.zero_point
    exact_rows = EXACT // ((last - first + 1) // 2) ** 2
    wide = exact_rows < FEW  # levels of 16 bits
    count, scale = 0, np.float32(q.scale)
    nothing: Floats = np.zeros(())
    remainder = centred = square = cross = nothing
    for x, levels in parts:
        count += len(x)
        if products and not square.ndim:
            square, cross = (np.zeros((x.shape[1],) * 2) for _ in range(2))
        rest = x - levels * scale
        levels = levels - np.float32(middle)
        remainder = remainder + rest.sum(0, dtype=np.float64)
        centred = centred + levels.sum(0, dtype=np.float64)
        if not products:
            continue
        step = len(x) if wide else exact_rows
        for start in range(0, len(x), step):
            part = levels[start : start + step]
            part = part.astype(np.float64) if wide else part
            square += part.T @ part
        cross += rest.T @ levels
    remainder, centred = remainder / count, centred / count * q.scale
    quantized = centred + middle * q.scale
    if not products:
        return Moments(count, quantized + remainder, quantized, nothing, nothing)
    square = square * (q.scale**2 / count) - np.outer(centred, centred)
    cross = cross * (q.scale / count) - np.outer(remainder, centred)
    return Moments(count, quantized + remainder, quantized, cross + square, square)
