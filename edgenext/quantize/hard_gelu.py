"""GELU as a hard swish between two layers, for runtimes that compute GELU with polynomials.

GELU(x) ≈ HardSwish(slope · x) / slope, where HardSwish(z) = z · clip(z/6 + ½, 0, 1). The layer in
front multiplies its weights by the slope and the layer behind divides them, so that nothing is
added to the graph. With a slope of 15/8 the error is at most 0.1, where |x| is near 1.6; the layer
behind is fitted to make up for it (see `weights.py`). Of a slope with few bits, products with
weights and scales are exact.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgenext.graph.sites import LAYERS, first_input
from edgenext.quantize.calibrate import Floats, TensorStats
from edgenext.quantize.gated_activation import gelu
from edgenext.quantize.graph_editor import GraphEditor, drop_unused_constants

WIDTH = 6.0
"""The gate of HardSwish goes from 0 to 1 over this width."""
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
    graph: ir.Graph, nodes: Iterable[ir.Node], stats: dict[str, TensorStats], slope: float
) -> dict[str, TensorStats]:
    """Replace GELUs by hard swishes, in place, and the statistics of their inputs and outputs.

    Args:
        graph: a float graph.
        nodes: GELUs between two layers.
        stats: of the graph's tensors; that of each GELU's input at least.
        slope: of the hard swish, above 0.

    Returns:
        The statistics of the graph as it is now.
    """
    edit, stats = GraphEditor(graph), dict(stats)
    for node in nodes:
        front, ((behind, _),) = first_input(node).producer(), node.outputs[0].uses()
        assert front is not None  # noqa: S101 - see is_hardenable
        for layer, index, factor in ((front, 1, slope), (front, 2, slope), (behind, 1, 1 / slope)):
            _multiply_constant(edit, layer, index, factor)
        node.op_type = "HardSwish"
        node.attributes.clear()
        source, output = str(first_input(node).name), str(node.outputs[0].name)
        channels = np.full(len(stats[source].low), 1 / slope)
        stats[source] = stats[source].scaled(channels)
        stats[output] = _output_stats(stats[source])
    drop_unused_constants(graph)
    return stats


def _multiply_constant(edit: GraphEditor, layer: ir.Node, index: int, factor: float) -> None:
    """Multiply a layer's weight (1), or its bias (2) if it has one."""
    value = layer.inputs[index] if len(layer.inputs) > index else None
    if value is not None and value.const_value is not None:
        edit.replace_constant(layer, index, value.const_value.numpy().astype(np.float64) * factor)


def hard_swish(z: Rows) -> Rows:
    """Its values, of any shape."""
    return np.asarray(z * np.clip(z / np.float32(WIDTH) + np.float32(0.5), 0, 1), np.float32)


def before_hardening(z: Rows, slope: float) -> Rows:
    """What a hard swish stands for: slope · GELU(z / slope)."""
    return gelu(z / np.float32(slope)) * np.float32(slope)


def _output_stats(stats: TensorStats) -> TensorStats:
    """The statistics of a hard swish's output, from those of its input."""
    values = hard_swish(stats.values)
    low = np.where(stats.low < -WIDTH / 4, LEAST, _ends(stats.low))
    return TensorStats(low, _ends(stats.high), values, stats.channels)


def _ends(z: Floats) -> Floats:
    return hard_swish(z.astype(np.float32)).astype(np.float64)
