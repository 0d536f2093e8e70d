"""The float16 and bfloat16 schemes: the same graph in half the bytes."""

from __future__ import annotations

import ml_dtypes
import onnx
import onnx_ir as ir

from edgenext.graph.sites import LAYERS
from edgenext.quantize.graph_editor import GraphEditor, drop_unused_constants
from edgenext.quantize.recipe import Recipe

LEAST_ELEMENTS = 64
"""Smaller constants stay float32: they save nothing, and epsilons would become zero."""


def to_fp16(model: onnx.ModelProto, recipe: Recipe) -> onnx.ModelProto:
    """The graph in float16, its inputs and outputs in float32.

    The attention's L2 norms stay float32: over thousands of tokens the sum of squares leaves
    float16's range.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    del recipe  # it has no options
    copy = onnx.shape_inference.infer_shapes(model)
    converted: onnx.ModelProto = convert_float_to_float16(
        copy, keep_io_types=True, op_block_list=["ReduceL2", "Clip", "Resize"]
    )
    del converted.graph.value_info[:]
    result = ir.from_proto(converted)
    result.graph.sort()  # the converter appends its casts at the end
    return ir.to_proto(result)


def to_bf16(model: onnx.ModelProto, recipe: Recipe) -> onnx.ModelProto:
    """The graph with its weights stored as bfloat16, for a runtime that computes in bfloat16.

    Everything else stays float32 in the file: the session requests bfloat16 arithmetic.
    """
    del recipe  # it has no options
    result = ir.from_proto(model)
    edit = GraphEditor(result.graph)
    for node in list(result.graph):
        value = node.inputs[1] if node.op_type in LAYERS else None
        if value is None or value.const_value is None or value.const_value.size < LEAST_ELEMENTS:
            continue
        array = value.const_value.numpy().astype(ml_dtypes.bfloat16)
        stored = edit.constant(f"{value.name}_bf16", array)
        widened = edit.node(
            "Cast", (stored,), f"{value.name}_f32", before=node, to=int(ir.DataType.FLOAT)
        )
        node.replace_input_with(1, widened)
    drop_unused_constants(result.graph)
    return ir.to_proto(result)
