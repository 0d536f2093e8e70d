"""GELU as a hard swish or a ReLU between two layers, for runtimes in which GELU is expensive.

GELU(x) ≈ HardSwish(slope · x) / slope, where HardSwish(z) = z · clip(z/6 + ½, 0, 1). The layer in
front multiplies its weights by the slope and the layer behind divides them, so that nothing is
added to the graph. With a slope of 15/8 the error is at most 0.09, where |x| is near 1.6; the layer
behind is fitted to make up for it (see `weights.py`). ReLU has an error of at most 0.17, and costs
nothing where a runtime clips what a convolution gives.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgenext.graph.sites import LAYERS, first_input
from edgenext.quantize.calibrate import Floats, TensorStats
from edgenext.quantize.gated_activation import WIDTH, gelu, hard_swish
from edgenext.quantize.graph_editor import GraphEditor, drop_unused_constants
from edgenext.quantize.recipe import HardGelu

LEAST = -WIDTH / 16
"""The least value of HardSwish, at a quarter of its width below zero."""

Rows = NDArray[np.float32]


def is_hardenable(node: ir.Node) -> bool:
    """Whether a node is a GELU between two layers which it alone joins."""
    front = first_input(node).producer()
    readers = [reader for reader, _ in node.outputs[0].uses()]
    return (
        node.op_type == "Gelu"
        and front is not None
        and front.op_type in LAYERS
        and len(first_input(node).uses()) == 1
        and [reader.op_type in LAYERS for reader in readers] == [True]
    )


def harden(
    graph: ir.Graph, nodes: Iterable[ir.Node], stats: dict[str, TensorStats], options: HardGelu
) -> dict[str, TensorStats]:
    """Replace GELUs, in place, and the statistics of their inputs and outputs.

    Args:
        graph: a float graph.
        nodes: GELUs between two layers.
        stats: of the graph's tensors; that of each GELU's input at least.
        options: the function in their place.

    Returns:
        The statistics of the graph as it is now.
    """
    edit, stats, factor = GraphEditor(graph), dict(stats), options.factor
    for node in nodes:
        front, ((behind, _),) = first_input(node).producer(), node.outputs[0].uses()
        assert front is not None  # noqa: S101 - see is_hardenable
        if factor != 1:
            _multiply_constant(edit, front, 1, factor)
            _multiply_constant(edit, front, 2, factor)
            _multiply_constant(edit, behind, 1, 1 / factor)
        node.op_type = options.function
        node.attributes.clear()
        source, output = str(first_input(node).name), str(node.outputs[0].name)
        channels = np.full(len(stats[source].low), 1 / factor)
        stats[source] = stats[source].scaled(channels)
        stats[output] = _output_stats(stats[source], options)
    drop_unused_constants(graph)
    return stats


def _multiply_constant(edit: GraphEditor, layer: ir.Node, index: int, factor: float) -> None:
    """Multiply a layer's weight (1), or its bias (2) if it has one."""
    value = layer.inputs[index] if len(layer.inputs) > index else None
    if value is not None and value.const_value is not None:
        edit.replace_constant(layer, index, value.const_value.numpy().astype(np.float64) * factor)


def hardened(z: Rows, options: HardGelu) -> Rows:
    """The values of the function in a GELU's place, of any shape."""
    return np.maximum(z, np.float32(0)) if options.function == "Relu" else hard_swish(z)


def before_hardening(z: Rows, options: HardGelu) -> Rows:
    """What it stands for: factor · GELU(z / factor)."""
    factor = np.float32(options.factor)
    return gelu(z / factor) * factor


def _output_stats(stats: TensorStats, options: HardGelu) -> TensorStats:
    """The statistics of the function's output, from those of its input."""

    def ends(z: Floats) -> Floats:
        return hardened(z.astype(np.float32), options).astype(np.float64)

    low = ends(stats.low)
    if options.function == "HardSwish":
        low = np.where(stats.low < -WIDTH / 4, LEAST, low)
    return TensorStats(low, ends(stats.high), hardened(stats.values, options), stats.channels)
