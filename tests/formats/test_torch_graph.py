from __future__ import annotations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from architectures import ARCHS
from golden import weights as golden

from edgenext.errors import ArtifactError
from edgenext.export.onnx import onnx_graph
from edgenext.formats.torch_graph import torch_graph
from edgenext.metrics.fidelity import sqnr_db
from edgenext.models import zoo
from edgenext.quantize.recipe import load_recipe
from edgenext.quantize.static import quantize_static


def graph(arch: str, form: str, opset: int = 20) -> onnx.ModelProto:
    net = zoo.create_model(arch)
    net.load_state_dict(golden.state(arch))
    return onnx_graph(net.eval(), form, (64, 64), opset=opset)


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((1, 3, 64, 64)).astype(np.float32)


def by_onnxruntime(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options).run(None, {"input": x})[0]


def agreement_db(model: onnx.ModelProto, module: torch.nn.Module) -> float:
    x = noise()
    expected = by_onnxruntime(model, x).astype(np.float64)
    with torch.no_grad():
        got = module(torch.from_numpy(x)).numpy()
    return sqnr_db(float(np.square(expected).sum()), float(np.square(expected - got).sum()))


@pytest.mark.parametrize("form", ["convT", "convC"])
@pytest.mark.parametrize("arch", ARCHS)
def test_a_module_computes_the_same_as_its_graph(arch: str, form: str) -> None:
    model = graph(arch, form)
    assert agreement_db(model, torch_graph(model)) > 110
    assert agreement_db(model, torch_graph(model, written_norms=True)) > 110


@pytest.mark.parametrize(
    ("arch", "target"),
    [
        ("edgenext_xx_small", "tflite"),
        ("edgenext_xx_small_bn_hs", "coreml"),
        pytest.param("edgenext_xx_small", "coreml", marks=pytest.mark.campaign),
        pytest.param("edgenext_xx_small_bn_hs", "tflite", marks=pytest.mark.campaign),
    ],
)
def test_quantized_graphs_keep_their_integers(arch: str, target: str) -> None:
    recipe = load_recipe(target)
    model = quantize_static(
        graph(arch, "convT"), [noise(seed) for seed in range(1, 9)], recipe
    ).model
    for float_weights in (False, True):
        module = torch_graph(model, float_weights=float_weights)
        # a value on the edge of two levels may round the other way: integers are equal otherwise
        assert agreement_db(model, module) > 35
        called = [str(n.target) for n in module.graph.nodes if n.op == "call_function"]
        quantizers = sum(n.op_type == "QuantizeLinear" for n in model.graph.node)
        assert quantizers == sum(
            "quantize_per_tensor" in c and "dequantize" not in c for c in called
        )
        integers = [b for b in module.buffers() if b.dtype == torch.int8]
        assert bool(integers) != float_weights


def test_an_unsupported_operator() -> None:
    model = graph("edgenext_xx_small", "convT")
    next(n for n in model.graph.node if n.op_type == "Softmax").op_type = "Hardmax"
    with pytest.raises(ArtifactError, match="Hardmax"):
        torch_graph(model)
