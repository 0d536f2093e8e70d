"""Times of the operators of a graph in onnxruntime, and this machine's peak in it."""

from __future__ import annotations

import json
import math
import statistics
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgenext.errors import RuntimeFailedError
from edgenext.formats.onnx.session import inference_session
from edgenext.formats.session import one_line
from edgenext.graph.load import read_model
from edgenext.system.temporary import scratch_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

PEAK_SIZE = 768
"""Rows and columns of the matrices whose product shows the peak."""
PEAK_S = 0.3
"""Seconds for which each is repeated."""


@dataclass(frozen=True)
class NodeTime:
    """A node of the optimised graph: milliseconds an inference, and its multiply-adds."""

    name: str
    operator: str
    ms: float
    macs: int | None
    integer: bool


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
        NodeTime(
            name,
            about[name]["op_name"],
            sum(times[-n:]) / n,
            _macs(about[name], weights.get(_module(name))),
            any("int8" in kind for shape in about[name]["input_type_shape"] for kind in shape),
        )
        for name, times in durations.items()
    ]


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
        return math.prod(outputs[0]) * math.prod(weight[1:])
    if "Gemm" in operator and weight:
        return math.prod(outputs[0]) * math.prod(weight) // outputs[0][-1]
    if operator in ("MatMul", "FusedMatMul") and len(inputs[0]) == len(inputs[1]) > 1:
        # of b products m×k · k×n, whichever of the two is transposed: bmk · bkn / bmn = b · k²
        size, batch = math.prod(outputs[0]), math.prod(outputs[0][:-2])
        reduced = math.isqrt(math.prod(inputs[0]) * math.prod(inputs[1]) // (size * batch))
        return size * reduced
    return None


def median_ms(path: Path, inputs: dict[str, NDArray[Any]], threads: int, n: int) -> float:
    """The median of n whole inferences in ms, without a profile."""
    session = inference_session(str(path), threads)
    times = []
    for _ in range(n + 1):
        start = time.perf_counter()
        session.run(None, inputs)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[1:])


def peaks(threads: int) -> dict[str, float]:
    """Multiply-adds a second of a large matrix product in onnxruntime, by type.

    Of bytes, the left matrix is uint8 and the right int8, as in our files; the values are small, so
    that no CPU's sums saturate.
    """
    rng = np.random.default_rng(0)
    size = (PEAK_SIZE, PEAK_SIZE)
    matrices: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {
        "float32": (
            rng.standard_normal(size, np.float32),
            rng.standard_normal(size, np.float32),
        ),
        "int8": (
            rng.integers(0, 64, size, np.uint8),
            rng.integers(-32, 32, size, np.int8),
        ),
    }
    return {kind: _peak(*pair, threads) for kind, pair in matrices.items()}


def _peak(a: NDArray[Any], b: NDArray[Any], threads: int) -> float:
    session = inference_session(_product(a, b), threads)
    best, end = math.inf, time.monotonic() + PEAK_S
    while time.monotonic() < end or best == math.inf:
        start = time.perf_counter()
        session.run(None, {"a": a})
        best = min(best, time.perf_counter() - start)
    return PEAK_SIZE**3 / best


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
        [helper.make_tensor_value_info("y", result, a.shape)],
        [numpy_helper.from_array(b, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
