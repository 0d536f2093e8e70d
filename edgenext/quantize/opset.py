"""A quantized graph in an older opset, for clients that do not take the one it was made in."""

from __future__ import annotations

import onnx

from edgenext.errors import UsageError
from edgenext.quantize.recipe import Recipe
from edgenext.system.reading import reason

GELU_OPSET = 20
"""The first opset in which GELU is one operator."""

AXES_OPSET = 18
"""The first opset in which the axes of a reduction are an input; before, they were an attribute."""
REDUCTIONS = ("ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin")
"""The reductions for which that holds."""


def graph_opset(recipe: Recipe, opset: int) -> int:
    """The opset of the float graph from which a file of an opset is quantized.

    A recipe that replaces GELUs must find each as one operator.
    """
    return max(opset, GELU_OPSET) if recipe.replaces_gelu else opset


def in_opset(model: onnx.ModelProto, opset: int | None) -> onnx.ModelProto:
    """The same graph in an opset whose operators are all that it has; itself where that is so.

    Args:
        model: a quantized graph.
        opset: of the file; None for the graph's own.

    Raises:
        UsageError: an operator or type that the opset does not have.
    """
    (own,) = (entry for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset is None or own.version <= opset:
        return model
    older = onnx.ModelProto()
    older.CopyFrom(model)
    if opset < AXES_OPSET:
        _axes_as_attributes(older.graph)
    for entry in older.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = opset
    try:
        onnx.checker.check_model(older, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as e:
        raise UsageError(
            f"opset {opset} lacks what the quantized graph has: {reason(e)[:200]}",
            f"Use --opset {own.version}, or leave it out",
        ) from e
    return older


def _axes_as_attributes(graph: onnx.GraphProto) -> None:
    """Write the constant axes of reductions as older opsets have them."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type in REDUCTIONS and len(node.input) > 1 and node.input[1] in constants:
            axes = onnx.numpy_helper.to_array(constants[node.input.pop()]).tolist()
            node.attribute.append(onnx.helper.make_attribute("axes", axes))
    read = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
