"""Every scheme of every target: checked, run as it is written, and close to the float network."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from quantized_graphs import SIZE, batches, float_graph, logits, network, pictures, recipe

from edgenext.export.onnx import onnx_graph
from edgenext.graph.ranges import input_range
from edgenext.metrics.fidelity import fidelity
from edgenext.quantize.methods import METHODS
from edgenext.quantize.static import quantize_static
from edgenext.quantize.weight_only import quantize_weights
from edgenext.schema import EvalTransform
from edgenext.targets.scheme import CALIBRATED, SCHEMES
from edgenext.targets.target import TARGETS, form_for, schemes

LEAST_DB = {  # measured: 22.4 and more, 12 and more, 23.6, 29.0, 35.4, 63.1, 48.9
    "w8a8-static": 20,
    "w4a8-static": 10,
    "w8a16-static": 20,
    "w8a8-dynamic": 25,
    "w8-weight-only": 30,
    "fp16": 58,
    "bf16": 45,
}
CASES = [
    (target, scheme)
    for target in TARGETS
    for scheme in schemes(target)
    if SCHEMES[scheme].method  # the others do not exist in ONNX
]


def as_written(model: onnx.ModelProto) -> np.ndarray:
    """Logits of unfused operators: what the file defines, whatever a CPU's kernels compute."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.concatenate([session.run(None, {"input": x[None]})[0] for x in pictures(2, 48)])


IN_SUITE = [
    *(("cpu-onnxruntime", "w8a8-static"), ("cpu-onnxruntime", "w8a8-dynamic")),
    ("cpu-onnxruntime", "w4a8-static"),
    *(("htp", "w8a8-static"), ("htp", "w8a16-static"), ("tflite", "w8a8-static")),
    *(("tflite", "w8-weight-only"), ("jetson", "fp16"), ("cpu-openvino", "bf16")),
]
"""Every scheme once. The static files of all targets are tested with their formats too."""


@pytest.mark.parametrize(
    ("target", "scheme"),
    [c if c in IN_SUITE else pytest.param(*c, marks=pytest.mark.campaign) for c in CASES],
)
def test_a_scheme_of_a_target(target: str, scheme: str) -> None:
    scheme_recipe = recipe(scheme, target)
    graph = onnx_graph(network(), form_for(target), SIZE, opset=scheme_recipe.opset)
    if scheme in CALIBRATED:
        model = quantize_static(graph, batches(12), scheme_recipe).model
    else:
        inputs = input_range(EvalTransform())
        model = METHODS[SCHEMES[scheme].method](graph, scheme_recipe, inputs).model
    onnx.checker.check_model(model, full_check=True)
    assert fidelity(logits(graph), as_written(model)).sqnr_db > LEAST_DB[scheme]
    assert {n.domain for n in model.graph.node} <= {"", "ai.onnx"}
    size = len(model.SerializeToString()) / len(graph.SerializeToString())
    assert size < (0.62 if scheme in ("fp16", "bf16") else 0.46)


NEAREST = {"rounding": "nearest", "fit": 0.0}
"""The quickest way to round weights, where their values do not matter."""


def types(model: onnx.ModelProto, op: str = "DequantizeLinear") -> set[int]:
    """Types of the zero points of quantized activations."""
    constants = {t.name: t.data_type for t in model.graph.initializer}
    quantized = {o for n in model.graph.node if n.op_type == "QuantizeLinear" for o in n.output}
    readers = [n for n in model.graph.node if n.op_type == op and n.input[0] in quantized]
    return {constants[n.input[2]] for n in readers}


def test_jetsons_activations_are_signed_and_centred() -> None:
    jetson = recipe("w8a8-static", "jetson", weights=NEAREST)
    graph = onnx_graph(network(), "convT", SIZE, opset=jetson.opset)
    model = quantize_static(graph, batches(4), jetson).model
    assert types(model) == {onnx.TensorProto.INT8}
    zeros = [t for t in model.graph.initializer if t.name.endswith("_zero_point")]
    assert zeros and not any(onnx.numpy_helper.to_array(t).any() for t in zeros)
    assert onnx.TensorProto.INT32 not in {t.data_type for t in zeros}  # biases are float


def test_every_float_of_an_npu_graph_is_quantized() -> None:
    htp = recipe("w8a8-static", "htp", weights=NEAREST)
    graph = onnx_graph(network(), "convT", SIZE, opset=htp.opset)
    model = quantize_static(graph, batches(4), htp).model
    dequantized = {o for n in model.graph.node if n.op_type == "DequantizeLinear" for o in n.output}
    floats = {i.name for i in model.graph.initializer if i.data_type == onnx.TensorProto.FLOAT}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        inputs = [i for i in node.input if i and i not in dequantized]
        assert not [i for i in inputs if i in floats], node.name
    assert model.graph.output[0].name in dequantized


def test_int4_weights_become_integer_convolutions_when_onnxruntime_loads_them(
    tmp_path: Path,
) -> None:
    """An int4 DequantizeLinear would leave the convolutions in float."""
    import onnxruntime as ort

    narrow = recipe("w4a8-static", weights=NEAREST)
    graph = onnx_graph(network(), "convT", SIZE, opset=narrow.opset)
    model = quantize_static(graph, batches(4), narrow).model
    stored = {t.name: t for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT4}
    assert len(stored) == 33
    levels = [onnx.numpy_helper.to_array(t).astype(int) for t in stored.values()]
    assert max(int(np.abs(level).max()) for level in levels) == 7
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    run = Counter(n.op_type for n in onnx.load(options.optimized_model_filepath).graph.node)
    assert run["QLinearConv"] == 48 and run["QGemm"] == 1 and run["Conv"] == 1  # as w8a8-static
    assert not run["Cast"]
    wide = quantize_static(graph, batches(4), recipe(weights=NEAREST)).model
    assert len(model.SerializeToString()) < 0.75 * len(wide.SerializeToString())


def test_the_weight_only_scheme_quantizes_the_weights_of_every_layer() -> None:
    graph = float_graph()
    model = quantize_weights(graph, recipe("w8-weight-only"))
    layers = sum(n.op_type in ("Conv", "Gemm") for n in graph.graph.node)
    weights = [
        t
        for t in model.graph.initializer
        if t.data_type == onnx.TensorProto.INT8 and t.name.endswith("_quantized")
    ]
    assert len(weights) == layers
    assert all(n.op_type != "QuantizeLinear" for n in model.graph.node)
