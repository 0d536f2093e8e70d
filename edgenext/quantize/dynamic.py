"""The dynamic scheme: int8 weights, activation scales computed at run time, no calibration."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from edgenext.quantize.graph_editor import GraphEditor, drop_unused_constants
from edgenext.quantize.recipe import Recipe
from edgenext.quantize.weight_only import INT8_LIMIT, nearest_weights, recipe_layers
from edgenext.quantize.weights import LayerWeights

OFFSET = 128
"""Zero point of int8 weights stored as uint8, the only type of onnxruntime's ConvInteger."""


def quantize_dynamic(model: onnx.ModelProto, recipe: Recipe) -> onnx.ModelProto:
    """The graph with integer layers whose input is quantized at run time, per tensor.

    DynamicQuantizeLinear → ConvInteger or MatMulInteger → float, times both scales, plus the bias.
    """
    result = ir.from_proto(model)
    edit = GraphEditor(result.graph)
    limit = recipe.weights.limit if recipe.weights else INT8_LIMIT
    quantized: dict[ir.Value, tuple[ir.Value, ir.Value, ir.Value]] = {}
    for node in recipe_layers(result.graph, recipe):
        source = node.inputs[0]
        assert source is not None  # noqa: S101 - a layer has an input
        if source not in quantized:
            quantized[source] = _quantize_at_run_time(edit, source, node)
        _integer_layer(edit, node, quantized[source], nearest_weights(node, limit))
    drop_unused_constants(result.graph)
    return ir.to_proto(result)


def _quantize_at_run_time(
    edit: GraphEditor, source: ir.Value, before: ir.Node
) -> tuple[ir.Value, ir.Value, ir.Value]:
    name = f"{source.name}_dynamic"
    outputs = [ir.Value(name=f"{name}_{part}") for part in ("quantized", "scale", "zero_point")]
    node = ir.node("DynamicQuantizeLinear", [source], outputs=outputs, name=name)
    edit.graph.insert_before(before, node)
    return outputs[0], outputs[1], outputs[2]


def _integer_layer(
    edit: GraphEditor,
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
