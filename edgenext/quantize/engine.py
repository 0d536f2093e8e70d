"""Our INT8 engine: a float deployment graph and calibration batches in, a Q/DQ graph out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from edgenext.errors import ArtifactError
from edgenext.options import DEFAULT_OPSET
from edgenext.quantize import gelu, qdq
from edgenext.quantize.calibrate import TensorStats, calibrate
from edgenext.quantize.plan import Plan, choose_ranges, make_plan, read
from edgenext.quantize.ranges import QParams, asymmetric
from edgenext.quantize.recipe import Recipe


def quantize_static(
    model: onnx.ModelProto,
    batches: Sequence[NDArray[np.generic]],
    recipe: Recipe,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> onnx.ModelProto:
    """A w8a8 Q/DQ graph of a folded float graph.

    Args:
        model: float ONNX graph in a deployment form, opset 20 or later (it needs Gelu whole).
        batches: prepared calibration inputs.
        recipe: what to quantize and how.
        seed: of the values sampled for the range search.
        progress: called with the number of calibrated batches.

    Raises:
        ArtifactError: the graph has no layers to quantize, or is quantized already.
    """
    result = ir.from_proto(model)
    _check(result)
    plan = make_plan(result.graph, recipe)
    if not plan.layers:
        raise ArtifactError("the graph has no convolution or linear layer to quantize")
    tables = [str(node.outputs[0].name) for node in plan.gelus]
    probe, shadows = gelu.with_shadows(model, tables, recipe.gelu.slope)
    names = [str(tensor.name) for tensor in plan.tensors]
    stats = calibrate(probe, [*names, *shadows.values()], batches, seed, progress)
    biases = _biases(plan, stats, shadows)
    _place(result.graph, plan, choose_ranges(plan, stats, recipe), biases, recipe)
    return ir.to_proto(result)


def _check(model: ir.Model) -> None:
    if any(node.op_type == "QuantizeLinear" for node in model.graph):
        raise ArtifactError("the graph is quantized already", "Start from a float export")
    opset = model.opset_imports[""]
    if opset < DEFAULT_OPSET:
        raise ArtifactError(
            f"a graph of opset {opset} cannot be quantized: it has no Gelu",
            f"Export it with --opset {DEFAULT_OPSET}",
        )


def _biases(
    plan: Plan, stats: dict[str, TensorStats], shadows: dict[str, str]
) -> dict[ir.Node, NDArray[np.float32]]:
    """Each layer's bias; behind a table, with what the table's mean error takes away."""
    biases: dict[ir.Node, NDArray[np.float32]] = {}
    for node in plan.layers:
        biases[node] = _constant(node, 2)
        source = str(read(node).name)
        if source in shadows:
            biases[node] = biases[node] + gelu.lost_mean(
                _constant(node, 1), stats[source], stats[shadows[source]]
            )
    return biases


def _place(
    graph: ir.Graph,
    plan: Plan,
    params: dict[ir.Value, QParams],
    biases: dict[ir.Node, NDArray[np.float32]],
    recipe: Recipe,
) -> None:
    """Put the plan into the graph."""
    edit = qdq.Editor(graph)
    inputs = {node: params[read(node)] for node in (*plan.layers, *plan.gelus)}
    sources = {node: read(node) for node in plan.gelus}
    quantized = {
        tensor: qdq.quantize_activation(edit, tensor, params[tensor]) for tensor in plan.tensors
    }
    for node in plan.layers:
        scale, limit = inputs[node].scale, recipe.weights.limit
        qdq.quantize_weights(edit, node, _constant(node, 1), biases[node], scale, limit)
    for node in plan.nodes:
        if node.op_type in ("Add", "Concat"):
            _place_constants(edit, node)
    for node in plan.gelus:
        gelu.place(edit, node, quantized[sources[node]], inputs[node], recipe.gelu.slope)
    qdq.drop_unused_constants(graph)


def _place_constants(edit: qdq.Editor, node: ir.Node) -> None:
    """Store a node's constant operands, such as the positional encoding, as uint8."""
    for i, value in enumerate(node.inputs):
        if value is not None and value.const_value is not None:
            array = value.const_value.numpy()
            low, high = float(array.min()), float(array.max())
            qdq.quantize_constant(edit, node, i, asymmetric(low, high))


def _constant(node: ir.Node, index: int) -> NDArray[np.float32]:
    """A layer's weight (1) or bias (2)."""
    value = node.inputs[index] if len(node.inputs) > index else None
    if value is None or value.const_value is None:
        raise ArtifactError(f"{node.name} has weights that are no constants of the graph")
    return np.asarray(value.const_value.numpy())
