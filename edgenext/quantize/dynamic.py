"""Schemes that need no calibration: int8 weights alone, or activation scales at run time."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from edgenext.graph.sites import LAYERS, find_sites
from edgenext.quantize.plan import chosen_sites
from edgenext.quantize.qdq import (
    Editor,
    LayerWeights,
    drop_unused_constants,
    store_weights,
    weight_scales,
)
from edgenext.quantize.recipe import Recipe
from edgenext.quantize.weights import constant

FULL = 127
"""The last level of int8 weights."""

OFFSET = 128
"""Zero point of int8 weights stored as uint8: onnxruntime's ConvInteger takes no signed ones."""


def quantize_weights(model: onnx.ModelProto, recipe: Recipe) -> onnx.ModelProto:
    """The graph with int8 weights behind DequantizeLinear; activations and biases stay float."""
    result = ir.from_proto(model)
    edit = Editor(result.graph)
    for node in _layers(result.graph, recipe):
        store_rounded(edit, node)
    drop_unused_constants(result.graph)
    return ir.to_proto(result)


def store_rounded(edit: Editor, node: ir.Node) -> None:
    """Store a layer's weights as int8; it computes in float, so that nothing can saturate."""
    store_weights(edit, node, _rounded(node, FULL), input_scale=1.0, bias="float32")


def quantize_dynamic(model: onnx.ModelProto, recipe: Recipe) -> onnx.ModelProto:
    """The graph with integer layers whose input is quantized at run time, per tensor.

    DynamicQuantizeLinear → ConvInteger or MatMulInteger → float, times both scales, plus the bias.
    """
    result = ir.from_proto(model)
    edit = Editor(result.graph)
    limit = recipe.weights.limit if recipe.weights else FULL
    quantized: dict[ir.Value, tuple[ir.Value, ir.Value, ir.Value]] = {}
    for node in _layers(result.graph, recipe):
        source = node.inputs[0]
        assert source is not None  # noqa: S101 - a layer has an input
        if source not in quantized:
            quantized[source] = _quantize_at_run_time(edit, source, node)
        _integer_layer(edit, node, quantized[source], _rounded(node, limit))
    drop_unused_constants(result.graph)
    return ir.to_proto(result)


def _layers(graph: ir.Graph, recipe: Recipe) -> list[ir.Node]:
    assert recipe.sites is not None  # noqa: S101 - these recipes have sites
    chosen, _ = chosen_sites(find_sites(graph), recipe.sites)
    return [n for site in chosen for n in site.nodes if n.op_type in LAYERS]


def _rounded(node: ir.Node, limit: int) -> LayerWeights:
    weight, bias = constant(node, 1), constant(node, 2)
    scales = weight_scales(weight, np.zeros(len(weight)), 1.0, limit)
    shape = (-1,) + (1,) * (weight.ndim - 1)
    levels = np.clip(np.round(weight / scales.reshape(shape)), -limit, limit).astype(np.int8)
    return LayerWeights(levels, scales, bias)


def _quantize_at_run_time(
    edit: Editor, source: ir.Value, before: ir.Node
) -> tuple[ir.Value, ir.Value, ir.Value]:
    name = f"{source.name}_dynamic"
    outputs = [ir.Value(name=f"{name}_{part}") for part in ("quantized", "scale", "zero_point")]
    node = ir.node("DynamicQuantizeLinear", [source], outputs=outputs, name=name)
    edit.graph.insert_before(before, node)
    return outputs[0], outputs[1], outputs[2]


def _integer_layer(
    edit: Editor,
    node: ir.Node,
    source: tuple[ir.Value, ir.Value, ir.Value],
    weights: LayerWeights,
) -> None:
    levels, scale, zero = source
    name, out = str(node.name), node.outputs[0]
    conv = node.op_type == "Conv"
    stored = (weights.levels.astype(np.int16) + OFFSET).astype(np.uint8)
    weight = edit.constant(f"{name}_weight", stored if conv else stored.T)
    offset = edit.constant(f"{name}_offset", np.asarray(OFFSET, np.uint8))
    attributes = dict(node.attributes) if conv else {}
    integer = ir.node(
        "ConvInteger" if conv else "MatMulInteger",
        [levels, weight, zero, offset],
        outputs=[ir.Value(name=f"{name}_sum")],
        name=f"{name}_integer",
    )
    integer.attributes.update(attributes)
    edit.graph.insert_before(node, integer)
    shape = (1, -1, 1, 1) if conv else (1, -1)
    by_channel = edit.constant(f"{name}_scale", weights.scales.reshape(shape))
    bias = edit.constant(f"{name}_bias", weights.bias.astype(np.float32).reshape(shape))
    total = edit.node(
        "Cast", integer.outputs, f"{name}_float", before=node, to=int(ir.DataType.FLOAT)
    )
    factor = edit.node("Mul", (scale, by_channel), f"{name}_factor", before=node)
    product = edit.node("Mul", (total, factor), f"{name}_scaled", before=node)
    result = edit.node("Add", (product, bias), f"{name}_result", before=node)
    graph_output = out.is_graph_output()
    out.replace_all_uses_with(result, replace_graph_outputs=graph_output)
    result.name, out.name = out.name, None
    result.shape, result.type = out.shape, out.type
    edit.graph.remove(node, safe=True)
