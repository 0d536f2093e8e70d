"""Our INT8 engine: a float deployment graph and calibration batches in, a Q/DQ graph out."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from edgenext.errors import ArtifactError
from edgenext.options import DEFAULT_OPSET
from edgenext.quantize import gelu, qdq, ranges
from edgenext.quantize.calibrate import TensorStats, calibrate
from edgenext.quantize.recipe import Recipe

LAYERS = ("Conv", "Gemm")
_SITE = re.compile(r"/(?:[\w.]+/)?((?:stages|downsample_layers)\.\d+\.\d+.*|norm|head)/\w+$")


@dataclass(frozen=True)
class Plan:
    """What will be quantized: nodes, and the float tensors they read and write, in order."""

    nodes: tuple[ir.Node, ...]
    tensors: tuple[ir.Value, ...]


def site(node: ir.Node) -> str:
    """A node's place in the network, by its PyTorch module's name."""
    match = _SITE.search(str(node.name))
    return match[1].replace("/", ".") if match else str(node.name)


def plan(graph: ir.Graph, recipe: Recipe) -> Plan:
    """Choose nodes by operator.

    A Split only moves data: it is quantized where its input already is. Layers that end the
    graph give float outputs.
    """
    nodes: list[ir.Node] = []
    tensors: dict[ir.Value, None] = {}
    for node in graph:
        if node.op_type not in recipe.operators.quantize:
            continue
        inputs = [v for v in node.inputs if v is not None and v.const_value is None]
        if node.op_type == "Split" and inputs[0] not in tensors:
            continue
        nodes.append(node)
        tensors |= dict.fromkeys(inputs)
        tensors |= dict.fromkeys(v for v in node.outputs if not v.is_graph_output())
    if recipe.gelu.slope:
        for node in graph:
            if node.op_type == "Gelu" and node.inputs[0] in tensors:
                tensors[node.outputs[0]] = None
    return Plan(tuple(nodes), tuple(tensors))


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
    graph = result.graph
    if any(node.op_type == "QuantizeLinear" for node in graph):
        raise ArtifactError("the graph is quantized already", "Start from a float export")
    if result.opset_imports[""] < DEFAULT_OPSET:
        raise ArtifactError(
            f"a graph of opset {result.opset_imports['']} cannot be quantized: it has no Gelu",
            f"Export it with --opset {DEFAULT_OPSET}",
        )
    chosen = plan(graph, recipe)
    if not any(node.op_type in LAYERS for node in chosen.nodes):
        raise ArtifactError("the graph has no convolution or linear layer to quantize")
    names = [str(t.name) for t in chosen.tensors]
    probe, shadows = gelu.with_shadows(model, recipe.gelu.slope)
    names += [shadow for name, shadow in shadows.items() if name in names]
    stats = calibrate(probe, names, batches, seed, progress)
    params = choose_ranges(chosen, stats, recipe)
    edit = qdq.Editor(graph)
    inputs = {node: _input_name(node) for node in chosen.nodes}
    quantized = {
        tensor: qdq.quantize_activation(edit, tensor, params[str(tensor.name)])
        for tensor in chosen.tensors
    }
    for node in chosen.nodes:
        if node.op_type in LAYERS:
            weight, bias = constant(node.inputs[1]), constant(node.inputs[2])
            if inputs[node] in shadows:
                bias = bias + gelu.lost_mean(weight, stats, inputs[node], shadows[inputs[node]])
            qdq.quantize_weights(
                edit, node, weight, bias, params[inputs[node]].scale, recipe.weights.limit
            )
        elif node.op_type in ("Add", "Concat"):
            for i, value in enumerate(node.inputs):
                if value is not None and value.const_value is not None:
                    array = value.const_value.numpy()
                    q = ranges.asymmetric(float(array.min()), float(array.max()))
                    qdq.quantize_constant(edit, node, i, q)
    if recipe.gelu.slope:
        by_name = {str(t.name): t for t in chosen.tensors}
        for node in list(graph):
            if node.op_type == "Gelu":
                name = _source_name(node)
                if name in by_name:
                    gelu.place(
                        edit, node, quantized[by_name[name]], params[name], recipe.gelu.slope
                    )
    qdq.drop_unused_constants(graph)
    return ir.to_proto(result)


def constant(value: ir.Value | None) -> NDArray[np.float32]:
    """The array of a constant operand."""
    if value is None or value.const_value is None:
        raise ArtifactError("a layer's weights are no constants of the graph")
    return np.asarray(value.const_value.numpy())


def _input_name(node: ir.Node) -> str:
    assert node.inputs[0] is not None  # noqa: S101 - every chosen operator has an input
    return str(node.inputs[0].name)


def _source_name(node: ir.Node) -> str:
    """The float tensor behind the DequantizeLinear that a node reads."""
    return _input_name(node).removesuffix("_dequantized")


def choose_ranges(
    chosen: Plan, stats: dict[str, TensorStats], recipe: Recipe
) -> dict[str, ranges.QParams]:
    """Scale and zero point of every tensor; a Split's outputs keep those of its input."""
    method = ranges.METHODS[recipe.activations.method]
    params: dict[str, ranges.QParams] = {}
    for tensor in chosen.tensors:
        name, producer = str(tensor.name), tensor.producer()
        if producer is not None and producer in chosen.nodes and producer.op_type == "Split":
            params[name] = params[_input_name(producer)]
        elif producer is not None and producer.op_type == "Cast":
            params[name] = ranges.QParams(1.0, 0)
        elif recipe.gelu.slope and any(n.op_type == "Gelu" for n in tensor.consumers()):
            params[name] = ranges.mse(stats[name], gelu.table(recipe.gelu.slope))
        else:
            params[name] = method(stats[name])
    return params
