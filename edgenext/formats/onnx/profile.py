"""Times of the operators of a graph in onnxruntime, and this machine's peak in it."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgenext.errors import RuntimeFailedError
from edgenext.formats.onnx.session import inference_session
from edgenext.formats.profile import (
    PEAK_S,
    PEAK_SHAPE,
    SHAPE_S,
    NodeTime,
    RuntimeProfile,
    Shape,
    median_ms,
    peak_matrices,
    peak_rate,
    shapes_of,
)
from edgenext.formats.session import one_line
from edgenext.graph.load import read_model
from edgenext.graph.sites import module_path
from edgenext.system.temporary import scratch_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgenext.formats.artifact import Artifact


def profile(artifact: Artifact, inputs: NDArray[Any], threads: int, n: int) -> RuntimeProfile:
    """The times of an ONNX file in onnxruntime, and the peaks of it; see `formats/profile.py`.

    Raises:
        RuntimeFailedError: onnxruntime cannot load or run the file.
    """
    path, feeds = artifact.path, {artifact.manifest.input.name: inputs}
    nodes = node_times(path, feeds, threads, n)
    session = inference_session(str(path), threads)
    p50_ms = median_ms(lambda: session.run(None, feeds), n)
    rates = peaks(threads)
    shape_rates = {
        (kind, shape): _rate(kind, shape, threads, SHAPE_S)
        for kind, shape in shapes_of(nodes, rates)
    }
    return RuntimeProfile("onnxruntime", nodes, p50_ms, rates, shape_rates)


def node_times(path: Path, inputs: dict[str, NDArray[Any]], threads: int, n: int) -> list[NodeTime]:
    """The nodes that onnxruntime executes, in their order, over n inferences.

    Args:
        path: of an ONNX file.
        inputs: one prepared batch by name.
        threads: inside an operator.
        n: inferences; one more comes before them.

    Raises:
        RuntimeFailedError: onnxruntime cannot load or run the file.
    """
    with scratch_folder() as folder:
        try:
            session = inference_session(str(path), threads, profile=folder / "profile")
            for _ in range(n + 1):
                session.run(None, inputs)
        except Exception as e:  # onnxruntime's exceptions share no public base class
            raise RuntimeFailedError(f"onnxruntime cannot run {path.name}: {one_line(e)}") from e
        events = json.loads(Path(session.end_profiling()).read_text())
    return _nodes(events, n, _weight_shapes(path))


def _nodes(
    events: list[dict[str, Any]], n: int, weights: dict[str, tuple[int, ...]]
) -> list[NodeTime]:
    """The nodes of a profile; the first inference is not counted."""
    durations: dict[str, list[float]] = defaultdict(list)
    about: dict[str, dict[str, Any]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            name = event["name"].removesuffix("_kernel_time")
            durations[name].append(event["dur"] / 1000)
            about[name] = event["args"]
    return [
        _node(name, sum(times[-n:]) / n, about[name], weights.get(_module(name)))
        for name, times in durations.items()
    ]


def _node(
    name: str, ms: float, arguments: dict[str, Any], weight: tuple[int, ...] | None
) -> NodeTime:
    macs = _macs(arguments, weight)
    sizes = (arguments.get(f"{part}_size", 0) for part in ("activation", "parameter", "output"))
    return NodeTime(
        name=name,
        operator=arguments["op_name"],
        site=module_path(name) if name.startswith("/") else "",
        ms=ms,
        macs=macs,
        precision=_precision(arguments),
        shape=_shape(macs, weight) if macs and weight else None,
        moved=sum(map(int, sizes)) or None,
    )


def _shape(macs: int, weight: tuple[int, ...]) -> Shape | None:
    """The matrix product that a layer is; None for a depth-wise convolution, which is none."""
    columns, terms = weight[0], math.prod(weight[1:])
    if len(weight) == 4 and weight[1] == 1:
        return None
    return macs // (terms * columns), terms, columns


def _precision(arguments: dict[str, Any]) -> str:
    types = [kind for shape in arguments["input_type_shape"] for kind in shape]
    return "int8" if any("int8" in kind for kind in types) else "float32"


def _weight_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The weights of each convolution and linear layer, by the module in the node's name.

    A profile has no shapes of weights that onnxruntime has packed.
    """
    graph = read_model(path).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in shapes:
            shapes[node.output[0]] = shapes[node.input[0]]
    return {
        _module(node.name): shapes[node.input[1]]
        for node in graph.node
        if node.op_type in ("Conv", "ConvInteger", "Gemm", "MatMulInteger")
        and node.input[1] in shapes
    }


def _module(node_name: str) -> str:
    return node_name.rpartition("/")[0]


def _macs(arguments: dict[str, Any], weight: tuple[int, ...] | None) -> int | None:
    """Multiply-adds of a layer with weights, or of a product of two tensors, from their shapes."""
    operator = arguments["op_name"]
    inputs, outputs = (
        [[int(side) for side in next(iter(shape.values()))] for shape in arguments[key]]
        for key in ("input_type_shape", "output_type_shape")
    )
    if "Conv" in operator and weight:
        padded = weight[0] not in outputs[0]  # to blocks of channels, as wide as the CPU's vectors
        values = math.prod(outputs[0]) * (weight[0] if padded else 1)
        return values // (outputs[0][1] if padded else 1) * math.prod(weight[1:])
    if "Gemm" in operator and weight:
        return math.prod(outputs[0]) * math.prod(weight) // outputs[0][-1]
    if operator in ("MatMul", "FusedMatMul") and len(inputs[0]) == len(inputs[1]) > 1:
        # of b products m×k · k×n, whichever of the two is transposed: bmk · bkn / bmn = b · k²
        size, batch = math.prod(outputs[0]), math.prod(outputs[0][:-2])
        reduced = math.isqrt(math.prod(inputs[0]) * math.prod(inputs[1]) // (size * batch))
        return size * reduced
    return None


def peaks(threads: int) -> dict[str, float]:
    """Multiply-adds a second of a large matrix product in onnxruntime, by type."""
    return {kind: _rate(kind, PEAK_SHAPE, threads, PEAK_S) for kind in ("float32", "int8")}


def _rate(kind: str, shape: Shape, threads: int, seconds: float) -> float:
    """Multiply-adds a second of a matrix product of a shape in onnxruntime."""
    a, b = peak_matrices(shape)[kind]
    session = inference_session(_product(a, b), threads)
    return peak_rate(partial(session.run, None, {"a": a}), shape, seconds)


def _product(a: NDArray[Any], b: NDArray[Any]) -> bytes:
    """A graph of one product with constant weights, which runtimes pack before they start."""
    import onnx
    from onnx import helper, numpy_helper

    integer = a.dtype == np.uint8
    kind = helper.np_dtype_to_tensor_dtype
    result = onnx.TensorProto.INT32 if integer else onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger" if integer else "MatMul", ["a", "b"], ["y"])],
        "product",
        [helper.make_tensor_value_info("a", kind(a.dtype), a.shape)],
        [helper.make_tensor_value_info("y", result, (len(a), b.shape[1]))],
        [numpy_helper.from_array(b, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
