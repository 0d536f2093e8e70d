"""Times of the operators of a file in OpenVINO, and this machine's peak in it."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from edgenext.errors import RuntimeFailedError
from edgenext.formats.openvino.session import COMPILED_PLUMBING, compiled_model, core, precision
from edgenext.formats.profile import NodeTime, RuntimeProfile, median_ms, peak_matrices, peak_rate
from edgenext.formats.session import one_line
from edgenext.graph.sites import module_path
from edgenext.system.native_output import native_output_hidden

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgenext.formats.artifact import Artifact

SUFFIX = "/WithoutBiases"
"""What OpenVINO adds to the name of a convolution whose bias is an operator of its own."""
PRECISIONS = {"u8": "int8", "i8": "int8", "bf16": "bfloat16", "f16": "float16"}
"""OpenVINO's names of precisions in the peaks; all others are float32."""


def profile(artifact: Artifact, inputs: NDArray[Any], threads: int, n: int) -> RuntimeProfile:
    """The times of a file in OpenVINO, and the peaks of it; see `formats/profile.py`.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
        RuntimeFailedError: OpenVINO cannot load or run the file.
    """
    file, kind = str(artifact.path), precision(artifact.manifest)
    try:
        with native_output_hidden():
            profiled = compiled_model(file, threads, kind, profiled=True)
            products = _products(core().read_model(file), len(inputs))
            sites = {tensor: site for site, tensor in artifact.manifest.sites.items()}
            nodes = _nodes(profiled, inputs, n, products, sites)
            request = compiled_model(file, threads, kind).create_infer_request()
            p50_ms = median_ms(lambda: request.infer([inputs], share_inputs=True), n)
    except RuntimeError as e:
        reason = one_line(e, -1)
        raise RuntimeFailedError(f"OpenVINO cannot run {artifact.path.name}: {reason}") from e
    used = {node.precision for node in nodes if node.macs}
    return RuntimeProfile("openvino", nodes, p50_ms, _peaks(threads, used))


def _nodes(
    model: Any, inputs: NDArray[Any], n: int, products: dict[str, int], sites: dict[str, str]
) -> list[NodeTime]:
    """The nodes that OpenVINO executes, in their order, over n inferences after a first one."""
    request = model.create_infer_request()
    request.infer([inputs])
    times: dict[str, list[float]] = defaultdict(list)
    for _ in range(n):
        request.infer([inputs])
        for info in request.profiling_info:
            times[info.node_name].append(1000 * info.real_time.total_seconds())
    return [
        node
        for operator in model.get_runtime_model().get_ordered_ops()
        if (node := _node(operator, times, n, products, sites))
    ]


def _node(
    operator: Any,
    times: dict[str, list[float]],
    n: int,
    products: dict[str, int],
    sites: dict[str, str],
) -> NodeTime | None:
    """An operator of a compiled model; None for what computes nothing.

    Operators are called as in the exported graph, those that make an output as the output.
    """
    about = {key: str(value.astype(str)) for key, value in operator.get_rt_info().items()}
    name, kind = operator.get_friendly_name(), about["layerType"]
    ms = sum(times.get(name, ())) / n
    if kind in COMPILED_PLUMBING or not ms:
        return None
    fused = about["originalLayersNames"].split(",")
    known = [sites.get(x) or module_path(x.removesuffix(SUFFIX)) for x in fused]
    counts = [products[layer] for layer in fused if layer in products]
    return NodeTime(
        name=name,
        operator=kind,
        site=next(filter(None, known), ""),
        ms=ms,
        macs=sum(counts) if counts else None,
        precision=PRECISIONS.get(about["runtimePrecision"], "float32"),
    )


def _products(model: Any, images: int) -> dict[str, int]:
    """The multiply-adds of each product of a model by its name; a batch of any size is `images`."""
    counts = {}
    for operator in model.get_ordered_ops():
        kind = operator.get_type_name()
        if kind in ("Convolution", "GroupConvolution", "MatMul"):
            outputs = math.prod(_sides(operator.output(0), images))
            weights = _sides(operator.input(1), images)
            if kind == "MatMul":
                rows = operator.get_attributes().get("transpose_b", False)
                terms = weights[-1] if rows else weights[-2]
            else:
                terms = math.prod(weights[1 if kind == "Convolution" else 2 :])
            counts[operator.get_friendly_name()] = outputs * terms
    return counts


def _sides(port: Any, images: int) -> list[int]:
    shape = port.get_partial_shape()
    return [side.get_length() if side.is_static else images for side in shape]


def _peaks(threads: int, used: set[str]) -> dict[str, float]:
    """Multiply-adds a second of a large matrix product in OpenVINO, in float32 and what is used."""
    matrices = peak_matrices()
    a, b = (matrix.astype(np.float32) for matrix in matrices["float32"])
    rates = {"float32": _peak(_product(a, b), a, threads, "f32")}
    if "bfloat16" in used:
        rates["bfloat16"] = _peak(_product(a, b), a, threads, "bf16")
    if "int8" in used:
        left, right = matrices["int8"]
        rates["int8"] = _peak(_integer_product(right), left, threads, "f32")
    return rates


def _peak(model: bytes, a: NDArray[Any], threads: int, kind: str) -> float:
    request = compiled_model(model, threads, kind).create_infer_request()
    return peak_rate(lambda: request.infer([a], share_inputs=True, share_outputs=True))


def _product(a: NDArray[Any], b: NDArray[Any]) -> bytes:
    """An ONNX graph of one product with constant weights."""
    from onnx import helper, numpy_helper

    return _model(
        [helper.make_node("MatMul", ["a", "b"], ["y"])],
        a.shape,
        "FLOAT",
        [numpy_helper.from_array(b, "b")],
    )


def _integer_product(b: NDArray[Any]) -> bytes:
    """The same in bytes, as OpenVINO recognises it: both matrices are dequantized before it."""
    from onnx import helper, numpy_helper

    scale = numpy_helper.from_array(np.array(0.01, np.float32), "s")
    zeros = (
        numpy_helper.from_array(np.zeros((), kind), name)
        for name, kind in (("za", np.uint8), ("zb", np.int8))
    )
    nodes = [
        helper.make_node("DequantizeLinear", ["a", "s", "za"], ["fa"]),
        helper.make_node("DequantizeLinear", ["b", "s", "zb"], ["fb"]),
        helper.make_node("MatMul", ["fa", "fb"], ["y"]),
    ]
    return _model(nodes, b.shape, "UINT8", [numpy_helper.from_array(b, "b"), scale, *zeros])


def _model(nodes: list[Any], shape: tuple[int, ...], kind: str, constants: list[Any]) -> bytes:
    import onnx
    from onnx import helper

    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("a", getattr(onnx.TensorProto, kind), shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, shape)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
