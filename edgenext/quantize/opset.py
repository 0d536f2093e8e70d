"""A quantized graph in an older opset, for clients that do not take the one it was made in."""

from __future__ import annotations

import onnx

from edgenext.errors import UsageError
from edgenext.quantize.recipe import Recipe
from edgenext.system.reading import reason

GELU_OPSET = 20
"""The first opset in which GELU is one operator."""


def graph_opset(recipe: Recipe, opset: int) -> int:
    """The opset of the float graph from which a file of an opset is quantized.

    A recipe with a gate replaces every GELU, which must be one operator to be found.
    """
    return max(opset, GELU_OPSET) if recipe.gate else opset


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
