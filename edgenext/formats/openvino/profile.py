"""Times of the operators of a file in OpenVINO, and this machine's peak in it."""

from __future__ import annotations

import math
from collections import defaultdict
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from edgenext.errors import RuntimeFailedError
from edgenext.formats.openvino.session import COMPILED_PLUMBING, compiled_model, core, precision
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
from edgenext.graph.sites import module_path
from edgenext.system.native_output import native_output_hidden

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgenext.formats.artifact import Artifact

SUFFIX = "/WithoutBiases"
"""What OpenVINO adds to the name of a convolution whose bias is an operator of its own."""
RATES = ("float32", "bfloat16", "int8")
"""Precisions whose peak can be measured."""
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
    used = {"float32"} | {node.precision for node in nodes if node.macs}
    kinds = [kind for kind in RATES if kind in used]
    rates = {kind: _rate(kind, PEAK_SHAPE, threads, PEAK_S) for kind in kinds}
    shape_rates = {
        (kind, shape): _rate(kind, shape, threads, SHAPE_S)
        for kind, shape in shapes_of(nodes, rates)
    }
    return RuntimeProfile("openvino", nodes, p50_ms, rates, shape_rates)


def _nodes(
    model: Any,
    inputs: NDArray[Any],
    n: int,
    products: dict[str, tuple[Shape, bool]],
    sites: dict[str, str],
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
    products: dict[str, tuple[Shape, bool]],
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
    layers = [products[layer] for layer in fused if layer in products]
    return NodeTime(
        name=name,
        operator=kind,
        site=next(filter(None, known), ""),
        ms=ms,
        macs=sum(math.prod(shape) for shape, _ in layers) if layers else None,
        precision=PRECISIONS.get(about["runtimePrecision"], "float32"),
        shape=layers[0][0] if len(layers) == 1 and layers[0][1] else None,
        moved=sum(map(_size, (*operator.inputs(), *operator.outputs()))),
    )


def _size(port: Any) -> int:
    """Bytes of a tensor; of a dimension that is free, one."""
    shape = port.get_partial_shape()
    sides = [side.get_length() if side.is_static else 1 for side in shape]
    return int(math.prod(sides) * port.get_element_type().size)


def _products(model: Any, images: int) -> dict[str, tuple[Shape, bool]]:
    """Each product of a model by its name: rows, terms and columns, and whether it is dense.

    A batch of any size is `images`. A depth-wise convolution has one column for each channel.
    """
    products = {}
    for operator in model.get_ordered_ops():
        kind = operator.get_type_name()
        if kind in ("Convolution", "GroupConvolution", "MatMul"):
            outputs = _sides(operator.output(0), images)
            weights = _sides(operator.input(1), images)
            columns = outputs[-1] if kind == "MatMul" else outputs[1]
            if kind == "MatMul":
                rows = operator.get_attributes().get("transpose_b", False)
                terms = weights[-1] if rows else weights[-2]
            else:
                terms = math.prod(weights[1 if kind == "Convolution" else 2 :])
            is_dense = kind == "Convolution" or len(weights) == 2
            shape = (math.prod(outputs) // columns, terms, columns)
            products[operator.get_friendly_name()] = shape, is_dense
    return products


def _sides(port: Any, images: int) -> list[int]:
    shape = port.get_partial_shape()
    return [side.get_length() if side.is_static else images for side in shape]


def _rate(kind: str, shape: Shape, threads: int, seconds: float) -> float:
    """Multiply-adds a second of a matrix product of a shape in OpenVINO."""
    a, b = peak_matrices(shape)["int8" if kind == "int8" else "float32"]
    model = _integer_product(a, b) if kind == "int8" else _product(a, b)
    precision = "bf16" if kind == "bfloat16" else "f32"
    request = compiled_model(model, threads, precision).create_infer_request()
    multiply = partial(request.infer, [a], share_inputs=True, share_outputs=True)
    return peak_rate(multiply, shape, seconds)


def _product(a: NDArray[Any], b: NDArray[Any]) -> bytes:
    """An ONNX graph of one product with constant weights."""
    from onnx import helper, numpy_helper

    return _model(
        [helper.make_node("MatMul", ["a", "b"], ["y"])],
        a.shape,
        b.shape[1],
        "FLOAT",
        [numpy_helper.from_array(b, "b")],
    )


def _integer_product(a: NDArray[Any], b: NDArray[Any]) -> bytes:
    """The same in bytes, as OpenVINO recognises it: dequantized before it, quantized behind it.

    Writing its result in float32 would take as long as computing it.
    """
    from onnx import helper, numpy_helper

    scale = numpy_helper.from_array(np.array(0.01, np.float32), "s")
    zeros = (
        numpy_helper.from_array(np.zeros((), kind), name)
        for name, kind in (("za", np.uint8), ("zb", np.int8))
    )
    nodes = [
        helper.make_node("DequantizeLinear", ["a", "s", "za"], ["fa"]),
        helper.make_node("DequantizeLinear", ["b", "s", "zb"], ["fb"]),
        helper.make_node("MatMul", ["fa", "fb"], ["fy"]),
        helper.make_node("QuantizeLinear", ["fy", "s", "za"], ["y"]),
    ]
    constants = [numpy_helper.from_array(b, "b"), scale, *zeros]
    return _model(nodes, a.shape, b.shape[1], "UINT8", constants)


def _model(
    nodes: list[Any], shape: tuple[int, ...], columns: int, kind: str, constants: list[Any]
) -> bytes:
    import onnx
    from onnx import helper

    a, y = (
        helper.make_tensor_value_info(name, getattr(onnx.TensorProto, kind), sides)
        for name, sides in (("a", shape), ("y", (shape[0], columns)))
    )
    graph = helper.make_graph(nodes, "product", [a], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())
