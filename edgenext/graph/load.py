"""ONNX graphs of files that anybody may have written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edgenext.errors import ArtifactError, EdgenextError
from edgenext.system.reading import read_file, readable, reason

if TYPE_CHECKING:
    import onnx

MAX_BYTES = 1 << 31
"""Protobuf's own limit."""
FIRST_IR_VERSION = 3
"""The first that says which operators a graph uses."""
EXTERNAL = "its weights are in other files"


def read_model(path: Path, error: type[EdgenextError] = ArtifactError) -> onnx.ModelProto:
    """The valid graph of an ONNX file.

    Args:
        path: of the file.
        error: the class of the error.

    Raises:
        EdgenextError: of class `error`: the file cannot be read, is not ONNX, is too old, keeps
            weights in other files, or its graph or shapes are invalid.
    """
    import onnx

    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(read_file(path, error, MAX_BYTES))
    except EdgenextError:
        raise
    except Exception as e:  # protobuf's implementations differ in their exceptions
        raise error(f"{readable(path)} is not an ONNX graph: {reason(e)}") from e
    if problem := _problem(model):
        remedy = "Export it again"
        if problem == EXTERNAL:
            remedy = "Save it as one file: onnx.save(onnx.load(FILE), NEW_FILE)"
        raise error(f"{readable(path)} cannot be used: {problem}", remedy)
    return model


def _problem(model: onnx.ModelProto) -> str:
    """Why a graph cannot be used; empty if it can."""
    import onnx

    if not any(o.domain in ("", "ai.onnx") for o in model.opset_import):
        return "it does not say which operator set it uses"
    if model.ir_version < FIRST_IR_VERSION:
        return f"its IR version {model.ir_version} is older than {FIRST_IR_VERSION}"
    initialized = {tensor.name for tensor in model.graph.initializer}
    if not model.graph.input or model.graph.input[0].name in initialized:
        return "its graph has no input"
    if not model.graph.output:
        return "its graph has no output"
    external = onnx.TensorProto.EXTERNAL
    if any(tensor.data_location == external for tensor in _tensors(model.graph)):
        return EXTERNAL
    try:
        onnx.checker.check_model(model)
        onnx.shape_inference.infer_shapes(model, strict_mode=True)
    except Exception as e:  # noqa: BLE001 - neither has a base class of its own for its errors
        return f"it is not valid: {reason(e)[:300]}"
    return ""


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """The constants of a graph and of the graphs inside it."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values
        yield sparse.indices
    for attribute in (a for node in graph.node for a in node.attribute):
        yield attribute.t
        yield from attribute.tensors
        for inner in (attribute.g, *attribute.graphs):
            yield from _tensors(inner)
