from __future__ import annotations

from collections import Counter
from functools import cache

import numpy as np
import onnx
import pytest
import torch
from golden import weights as golden

from edgenext.errors import ArtifactError, UsageError
from edgenext.export.onnx import onnx_graph
from edgenext.graph.stress import stress
from edgenext.models import zoo
from edgenext.models.network import EdgeNeXt
from edgenext.quantize.engine import quantize_static
from edgenext.quantize.recipe import Recipe, load_recipe
from edgenext.quantize.rivals import onnxruntime_static
from edgenext.runtimes.fidelity import fidelity
from edgenext.runtimes.onnxruntime import inference_session
from edgenext.schema import EvalTransform

SIZE = (64, 64)


@cache
def network(arch: str) -> EdgeNeXt:
    net = zoo.create_model(arch)
    net.load_state_dict(golden.state(arch))
    return net.eval().requires_grad_(False)


@cache
def pictures(seed: int, n: int) -> np.ndarray:
    """Smooth random images, normalised, N×3×H×W."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(n, 3, 8, 8, generator=generator)
    fine = torch.nn.functional.interpolate(coarse, SIZE, mode="bicubic")
    return (fine + 0.2 * torch.randn(n, 3, *SIZE, generator=generator)).numpy()


def batches() -> list[np.ndarray]:
    return [x[None] for x in pictures(1, 24)]


def recipe(**changes: dict[str, object]) -> Recipe:
    """The default recipe with sections changed."""
    base = load_recipe("cpu-onnxruntime")
    return base.model_copy(
        update={k: getattr(base, k).model_copy(update=v) for k, v in changes.items()}
    )


def logits(model: onnx.ModelProto) -> np.ndarray:
    session = inference_session(model.SerializeToString(), 1)
    return np.concatenate([session.run(None, {"input": x[None]})[0] for x in pictures(2, 48)])


def optimised(model: onnx.ModelProto, tmp_path: object) -> Counter[str]:
    """Operators that onnxruntime really runs."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = f"{tmp_path}/optimised.onnx"
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Counter(n.op_type for n in onnx.load(options.optimized_model_filepath).graph.node)


@cache
def ours(arch: str) -> onnx.ModelProto:
    return quantize_static(onnx_graph(network(arch), "convT", SIZE), batches(), recipe())


@pytest.mark.parametrize("arch", list(zoo.arch_table()))
def test_every_architecture_keeps_its_logits(arch: str) -> None:
    with torch.no_grad():
        expected = network(arch)(torch.from_numpy(pictures(2, 48))).numpy()
    near = fidelity(expected, logits(ours(arch)))
    assert near.sqnr_db > 20, near
    onnx.checker.check_model(ours(arch), full_check=True)


def test_only_stock_operators_and_few_bytes() -> None:
    model = ours("edgenext_small")
    assert {n.domain for n in model.graph.node} <= {"", "ai.onnx"}
    assert {o.domain for o in model.opset_import} <= {"", "ai.onnx"}
    assert len(model.SerializeToString()) < 0.31 * 4 * zoo.arch("edgenext_small").params


def test_onnxruntime_fuses_everything_that_should_be_fused(tmp_path: object) -> None:
    found = optimised(ours("edgenext_xx_small"), tmp_path)
    assert found["QLinearConv"] == 49 and found["QGemm"] == 1
    assert found["QLinearSigmoid"] == found["QLinearMul"] == 12  # the GELUs
    assert found["QLinearAdd"] == 19 and found["QLinearConcat"] == 3
    assert not {"Conv", "Gelu", "Add", "Concat", "Sigmoid"} & found.keys()


def test_weights_never_saturate_16_bit_pairs() -> None:
    """Two products of 255 and 64 fit into int16: the file is right on x86 without VNNI."""
    for tensor in ours("edgenext_xx_small").graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT8:
            assert np.abs(onnx.numpy_helper.to_array(tensor)).max() <= 64


def test_the_file_computes_what_it_says() -> None:
    """Fused 8-bit kernels give what the Q/DQ graph, run operator by operator, defines."""
    import onnxruntime as ort

    model = ours("edgenext_xx_small")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    exact = np.concatenate([plain.run(None, {"input": x[None]})[0] for x in pictures(2, 48)])
    assert fidelity(exact, logits(model)).sqnr_db > 22


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_stressed_twin_quantizes_alike(seed: int) -> None:
    arch = "edgenext_xx_small"
    with torch.no_grad():
        expected = network(arch)(torch.from_numpy(pictures(2, 48))).numpy()
    twin = stress(network(arch), seed=seed, strength=3)
    theirs = logits(quantize_static(onnx_graph(twin, "convT", SIZE), batches(), recipe()))
    base = fidelity(expected, logits(ours(arch))).sqnr_db
    assert fidelity(expected, theirs).sqnr_db > base - 1
    rival = onnxruntime_static(onnx_graph(twin, "naive", SIZE), batches())
    assert fidelity(expected, logits(rival)).sqnr_db < base - 8  # what is cured


@pytest.mark.parametrize("seed", [0, 1])
def test_a_stressed_batch_norm_twin_quantizes_alike(seed: int) -> None:
    arch = "edgenext_xx_small_bn_hs"
    with torch.no_grad():
        expected = network(arch)(torch.from_numpy(pictures(2, 48))).numpy()
    twin = stress(network(arch), seed=seed, strength=3)
    theirs = logits(quantize_static(onnx_graph(twin, "convT", SIZE), batches(), recipe()))
    base = fidelity(expected, logits(ours(arch))).sqnr_db
    assert fidelity(expected, theirs).sqnr_db > base - 1.5


def test_each_choice_of_the_recipe_earns_its_place() -> None:
    arch = "edgenext_xx_small"
    graph = onnx_graph(network(arch), "convT", SIZE)
    reference = logits(graph)

    def db(r: Recipe) -> float:
        return fidelity(reference, logits(quantize_static(graph, batches(), r))).sqnr_db

    default = db(recipe())
    assert default > db(recipe(activations={"method": "minmax"})) - 0.3
    assert db(recipe(gelu={"slope": 0.0})) > default - 0.3  # a float GELU is no worse
    only_layers = db(recipe(operators={"quantize": ("Conv", "Gemm")}))
    assert only_layers > default - 0.3


def test_pixels_are_quantized_already(tmp_path: object) -> None:
    transform = EvalTransform(size=64, crop_pct=1.0)
    graph = onnx_graph(network("edgenext_xx_small"), "convT", SIZE, pixels=transform)
    images = np.random.default_rng(0).integers(0, 256, (12, 1, 64, 64, 3), np.uint8)
    model = quantize_static(graph, list(images), recipe())
    assert "Cast" not in {n.op_type for n in model.graph.node}
    session, exact = (inference_session(m.SerializeToString(), 1) for m in (model, graph))
    a, b = (
        np.concatenate([s.run(None, {"input": x})[0] for x in images]) for s in (exact, session)
    )
    assert fidelity(a, b).sqnr_db > 20


def test_backbones_quantize() -> None:
    net = zoo.create_model("edgenext_xx_small", features_only=True)
    net.load_state_dict(golden.state("edgenext_xx_small"), strict=False)
    graph = onnx_graph(net.eval(), "convT", SIZE)
    model = quantize_static(graph, batches()[:4], recipe())
    assert [o.name for o in model.graph.output] == ["stage1", "stage2", "stage3", "stage4"]
    session, exact = (inference_session(m.SerializeToString(), 1) for m in (model, graph))
    x = {"input": batches()[0]}
    for a, b in zip(exact.run(None, x), session.run(None, x), strict=True):
        assert fidelity(a.reshape(1, -1), b.reshape(1, -1)).sqnr_db > 15


def test_quantizing_is_reproducible() -> None:
    graph = onnx_graph(network("edgenext_xx_small"), "convT", SIZE)
    first, second = (
        quantize_static(graph, batches()[:4], recipe(), seed=3).SerializeToString(
            deterministic=True
        )
        for _ in range(2)
    )
    assert first == second


def test_what_cannot_be_quantized() -> None:
    with pytest.raises(ArtifactError, match="quantized already"):
        quantize_static(ours("edgenext_xx_small"), batches(), recipe())
    x = onnx.helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [1, 3])
    y = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [1, 3])
    empty = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["input"], ["logits"])], "g", [x], [y]
    )
    with pytest.raises(ArtifactError, match="no convolution"):
        quantize_static(onnx.helper.make_model(empty), batches(), recipe())


def test_names_that_do_not_exist() -> None:
    with pytest.raises(UsageError, match="cpu-onnxruntime"):
        load_recipe("cpu-onxruntime")
    with pytest.raises(UsageError, match="w8a8-static"):
        load_recipe("cpu-onnxruntime", "w8a8-statik")
