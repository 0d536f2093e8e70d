"""The weight-only scheme: int8 weights, float activations, no calibration."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from edgenext.graph.sites import LAYERS, find_sites
from edgenext.quantize.graph_editor import GraphEditor, drop_unused_constants
from edgenext.quantize.moments import layer_constant
from edgenext.quantize.plan import choose_sites
from edgenext.quantize.qdq import store_weights
from edgenext.quantize.recipe import Recipe
from edgenext.quantize.weights import LayerWeights, weight_scales

INT8_LIMIT = 127
"""The largest level of symmetric int8 weights."""


def quantize_weights(model: onnx.ModelProto, recipe: Recipe) -> onnx.ModelProto:
    """The graph with int8 weights behind DequantizeLinear; activations and biases stay float."""
    result = ir.from_proto(model)
    edit = GraphEditor(result.graph)
    for node in recipe_layers(result.graph, recipe):
        store_rounded(edit, node)
    drop_unused_constants(result.graph)
    return ir.to_proto(result)


def store_rounded(edit: GraphEditor, node: ir.Node) -> None:
    """Store a layer's weights as int8; it computes in float, so that nothing can saturate."""
    store_weights(edit, node, nearest_weights(node, INT8_LIMIT), input_scale=1.0, bias="float32")


def recipe_layers(graph: ir.Graph, recipe: Recipe) -> list[ir.Node]:
    """The layers of the sites that a recipe quantizes."""
    assert recipe.sites is not None  # noqa: S101 - parse_recipe requires the section
    sites, _ = choose_sites(find_sites(graph), recipe.sites)
    return [n for site in sites for n in site.nodes if n.op_type in LAYERS]


def nearest_weights(node: ir.Node, limit: int) -> LayerWeights:
    """A layer's weights rounded to the nearest of ±limit levels, one scale an output channel."""
    weight, bias = layer_constant(node, 1), layer_constant(node, 2)
    scales = weight_scales(weight, np.zeros(len(weight)), 1.0, limit)
    shape = (-1,) + (1,) * (weight.ndim - 1)
    levels = np.clip(np.round(weight / scales.reshape(shape)), -limit, limit).astype(np.int8)
    return LayerWeights(levels, scales, bias)
