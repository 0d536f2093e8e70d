"""Least and greatest values of a graph's tensors on calibration images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgenext.errors import DataError
from edgenext.formats.ethos_u.norms import INVERSE_ROOT, LEAST_SIZE
from edgenext.formats.onnx.session import inference_session

Ranges = dict[str, tuple[float, float]]


def float_ranges(model: onnx.ModelProto, inputs: Iterable[NDArray[Any]]) -> Ranges:
    """The range of every float tensor that a graph computes, and of what it takes.

    Args:
        model: with the shapes of its tensors, as `onnx.shape_inference` knows them.
        inputs: prepared batches.

    Raises:
        DataError: a tensor takes values that are not finite.
    """
    watched = onnx.ModelProto.FromString(model.SerializeToString())
    graph = watched.graph
    _floor_roots(graph)
    known = {
        value.name
        for value in (*graph.value_info, *graph.output)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    names = [name for node in graph.node for name in node.output if name in known]
    del graph.output[:]
    ends = []
    for i, name in enumerate(names):
        for op in ("ReduceMin", "ReduceMax"):
            ends.append(f"{op}_{i}")
            graph.node.append(helper.make_node(op, [name], [ends[-1]], keepdims=0))
            graph.output.append(helper.make_tensor_value_info(ends[-1], TensorProto.FLOAT, []))
    session = inference_session(watched.SerializeToString(), 0)
    given = graph.input[0].name
    rows = np.asarray(
        [[batch.min(), batch.max(), *session.run(ends, {given: batch})] for batch in inputs],
        np.float64,
    )
    low, high = rows[:, 0::2].min(0), rows[:, 1::2].max(0)
    found = {n: (float(a), float(b)) for n, a, b in zip([given, *names], low, high, strict=True)}
    for name, pair in found.items():
        if not np.isfinite(pair).all():
            raise DataError(f"calibration drives {name} to values that are not finite")
    return found


def _floor_roots(graph: onnx.GraphProto) -> None:
    """Let no inverse root be infinite: a row that its bytes have made nothing has no norm.

    The kernels take the root of their first level there, and nothing times that is nothing, too.
    """
    floor = "least size"
    graph.initializer.append(numpy_helper.from_array(np.asarray(LEAST_SIZE, np.float32), floor))
    for i, node in reversed(list(enumerate(graph.node))):
        if node.op_type == INVERSE_ROOT:
            floored = f"{node.input[0]} floored for {node.output[0]}"
            graph.node.insert(i, helper.make_node("Max", [node.input[0], floor], [floored]))
            node.input[0] = floored
