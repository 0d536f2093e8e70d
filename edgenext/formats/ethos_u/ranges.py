"""Minimum and maximum of a graph's tensors on calibration images."""

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
"""Minimum and maximum of tensors by name."""


def float_ranges(model: onnx.ModelProto, inputs: Iterable[NDArray[Any]]) -> Ranges:
    """The range of every float tensor that a graph computes, and of its input.

    Args:
        model: with the shapes of its tensors, from `onnx.shape_inference`.
        inputs: prepared batches.

    Raises:
        DataError: a tensor has values that are not finite.
    """
    observed = onnx.ModelProto.FromString(model.SerializeToString())
    graph = observed.graph
    _limit_inverse_roots(graph)
    floats = {
        value.name
        for value in (*graph.value_info, *graph.output)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    names = [name for node in graph.node for name in node.output if name in floats]
    del graph.output[:]
    ends = []
    for i, name in enumerate(names):
        for op in ("ReduceMin", "ReduceMax"):
            ends.append(f"{op}_{i}")
            graph.node.append(helper.make_node(op, [name], [ends[-1]], keepdims=0))
            graph.output.append(helper.make_tensor_value_info(ends[-1], TensorProto.FLOAT, []))
    session = inference_session(observed.SerializeToString(), 0)
    source = graph.input[0].name
    rows = np.asarray(
        [[batch.min(), batch.max(), *session.run(ends, {source: batch})] for batch in inputs],
        np.float64,
    )
    low, high = rows[:, 0::2].min(0), rows[:, 1::2].max(0)
    ranges = {n: (float(a), float(b)) for n, a, b in zip([source, *names], low, high, strict=True)}
    for name, pair in ranges.items():
        if not np.isfinite(pair).all():
            raise DataError(
                f"calibration images give {name} values that are not finite",
                "Check the weights and the images",
            )
    return ranges


def _limit_inverse_roots(graph: onnx.GraphProto) -> None:
    """Keep inverse roots finite for rows that 8 bits round to zero.

    The kernels take the root of their first level there; its product with zero is zero as well.
    """
    floor = "least size"
    graph.initializer.append(numpy_helper.from_array(np.asarray(LEAST_SIZE, np.float32), floor))
    for i, node in reversed(list(enumerate(graph.node))):
        if node.op_type == INVERSE_ROOT:
            floored = f"{node.input[0]} floored for {node.output[0]}"
            graph.node.insert(i, helper.make_node("Max", [node.input[0], floor], [floored]))
            node.input[0] = floored
