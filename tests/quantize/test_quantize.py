from __future__ import annotations

import copy
from functools import cache

import numpy as np
import onnx
import pytest
import torch
from architectures import ARCHS, BN
from golden import weights as golden
from hypothesis import given, settings
from hypothesis import strategies as st
from quantized_graphs import (
    SIZE,
    XXS,
    batches,
    float_graph,
    logits,
    network,
    optimised,
    pictures,
    quantized,
    recipe,
    sqnr,
)

from edgenext.errors import ArtifactError, UsageError
from edgenext.export.onnx import onnx_graph
from edgenext.formats.onnx.session import inference_session
from edgenext.graph.stress import rescaled_twin
from edgenext.metrics.fidelity import fidelity
from edgenext.models import zoo
from edgenext.quantize.baselines import onnxruntime_defaults
from edgenext.quantize.static import quantize_static
from edgenext.schema import EvalTransform


@pytest.mark.parametrize("arch", ARCHS)
def test_every_architecture_keeps_its_logits(arch: str) -> None:
    with torch.no_grad():
        expected = network(arch)(torch.from_numpy(pictures(2, 48))).numpy()
    result = quantized(arch)
    similarity = fidelity(expected, logits(result.model))
    assert similarity.sqnr_db > 22, similarity
    assert fidelity(expected, logits(result.reference)).sqnr_db > 100  # equalising is exact
    onnx.checker.check_model(result.model, full_check=True)


def test_only_stock_operators_and_few_bytes() -> None:
    model = quantized().model
    assert {n.domain for n in model.graph.node} <= {"", "ai.onnx"}
    assert {o.domain for o in model.opset_import} <= {"", "ai.onnx"}
    assert len(model.SerializeToString()) < 0.34 * 4 * zoo.arch(XXS).params  # 0.33 measured


def test_onnxruntime_fuses_every_quantized_site(tmp_path: object) -> None:
    operators = optimised(quantized().model, tmp_path)
    assert operators["QLinearConv"] == 48 and operators["QGemm"] == 1
    assert operators["Conv"] == 1  # the stem, which stays float
    assert operators["QLinearSigmoid"] == operators["QLinearMul"] == 12  # the GELUs
    assert not {"Gelu", "Sigmoid"} & operators.keys()
    sums_too = recipe(
        sites={"quantize": (*recipe().sites.quantize, "residual", "routing"), "keep_float": {}}
    )
    operators = optimised(quantize_static(float_graph(), batches(4), sums_too).model, tmp_path)
    assert operators["QLinearAdd"] == 19 and operators["QLinearConcat"] == 3
    assert not {"Add", "Concat"} & operators.keys()


def test_a_hardswish_is_quantized_too(tmp_path: object) -> None:
    operators = optimised(quantized(BN).model, tmp_path)
    assert operators["QLinearMul"] == 12 and operators["QLinearAdd"] >= 12
    assert "HardSwish" not in operators


def test_weights_never_saturate_16_bit_pairs() -> None:
    """Two products of 255 and 64 fit into int16: the file is correct on x86 without VNNI."""
    for tensor in quantized().model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT8:
            assert np.abs(onnx.numpy_helper.to_array(tensor)).max() <= 64


def test_fused_kernels_compute_what_the_file_defines() -> None:
    """Fused 8-bit kernels agree with the Q/DQ graph run operator by operator."""
    import onnxruntime as ort

    model = quantized().model
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    plain = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    exact = np.concatenate([plain.run(None, {"input": x[None]})[0] for x in pictures(2, 48)])
    assert fidelity(exact, logits(model)).sqnr_db > 36  # 42.2 measured, with VNNI


def serialized(graph: onnx.ModelProto) -> bytes:
    result = quantize_static(graph, batches(4), recipe(), seed=3).model
    return result.SerializeToString(deterministic=True)


@cache
def original(arch: str) -> bytes:
    """A quantized file."""
    return serialized(float_graph(arch))


def same_from_twin(arch: str, seed: int, strength: float) -> bool:
    """Whether a twin with rescaled weights gives the same file."""
    twin = rescaled_twin(network(arch), seed=seed, strength=strength)
    return serialized(onnx_graph(twin, "convT", SIZE)) == original(arch)


@pytest.mark.parametrize("arch", [XXS, pytest.param(BN, marks=pytest.mark.campaign)])
def test_a_stressed_twin_gives_the_same_file(arch: str) -> None:
    assert same_from_twin(arch, seed=1, strength=3)


@pytest.mark.campaign
@pytest.mark.parametrize("arch", [XXS, BN])
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**31), strength=st.floats(0.5, 6))
def test_any_stressed_twin_gives_the_same_file(arch: str, seed: int, strength: float) -> None:
    assert same_from_twin(arch, seed, strength)


def test_a_stressed_twin_breaks_onnxruntimes_quantizer() -> None:
    twin = onnx_graph(rescaled_twin(network(), strength=3), "naive", SIZE)
    base = sqnr(float_graph(), quantized().model)
    assert sqnr(float_graph(), onnxruntime_defaults(twin, batches())) < base - 8


MARGIN_DB = 0.3
"""Allowed below a measured gain; measured without VNNI, but weights in ±64 saturate on no CPU."""

CHOICES: dict[str, tuple[dict[str, dict[str, object] | None], float]] = {
    "GPTQ": ({"weights": {"rounding": "nearest"}}, 0.68),
    "norms balanced": ({"equalise": {"norms": False}}, 0.40),
    "GELU from tables": ({"gate": None}, 0.01),
    "streams and norms equalised": ({"equalise": None}, -0.36),
    "ranges by least square": ({"activations": {"method": "minmax"}}, -0.24),
}
"""Choice → the recipe without it, and what the choice gains in dB.

Golden weights have no outliers, so equalised streams and clipped ranges cost a little here;
results/ measures all choices on a trained network.
"""


IN_SUITE = ("GPTQ", "norms balanced")


@pytest.mark.parametrize(
    "choice",
    [c if c in IN_SUITE else pytest.param(c, marks=pytest.mark.campaign) for c in CHOICES],
)
def test_what_each_choice_of_the_recipe_gains(choice: str) -> None:
    graph = float_graph()
    changes, measured = CHOICES[choice]
    without = sqnr(graph, quantize_static(graph, batches(), recipe(**changes)).model)
    gain = sqnr(graph, quantized().model) - without
    assert gain > measured - MARGIN_DB
    assert choice != "GELU from tables" or gain < MARGIN_DB  # a float GELU is no worse


def test_equalising_streams_pays_where_a_channel_is_an_outlier() -> None:
    net = copy.deepcopy(network())
    for pair in net.downsample_layers:  # the last layer in front of each stage
        pair[1].weight[3] *= 20
        pair[1].bias[3] *= 20
    graph = onnx_graph(net, "convT", SIZE)
    equalised, unchanged = (
        sqnr(graph, quantize_static(graph, batches(), r).model)
        for r in (recipe(), recipe(equalise={"streams": False}))
    )
    assert equalised - unchanged > 7.4 - MARGIN_DB, (equalised, unchanged)


def test_a_graph_that_reads_pixels() -> None:
    transform = EvalTransform(size=64, crop_pct=1.0)
    graph = onnx_graph(network(), "convT", SIZE, pixels=transform)
    images = np.random.default_rng(0).integers(0, 256, (6, 1, 64, 64, 3), np.uint8)
    with_stem = recipe(sites={"keep_float": {}, "quantize": (*recipe().sites.quantize, "stem")})
    for variant in (recipe(), with_stem):
        model = quantize_static(graph, list(images), variant).model
        # a quantized stem reads the pixels directly, as bytes
        assert ("Cast" in {n.op_type for n in model.graph.node}) == (variant is not with_stem)
        session, exact = (inference_session(m.SerializeToString(), 1) for m in (model, graph))
        a, b = (
            np.concatenate([s.run(None, {"input": x})[0] for x in images]) for s in (exact, session)
        )
        assert fidelity(a, b).sqnr_db > 27  # 30.9 and more measured


def test_backbones_quantize() -> None:
    net = zoo.create_model(XXS, features_only=True)
    net.load_state_dict(golden.state(XXS), strict=False)
    graph = onnx_graph(net.eval(), "convT", SIZE)
    every_stream = recipe(equalise={"least_db": 0.0})  # rescales every stage, and back
    result = quantize_static(graph, batches(4), every_stream)
    assert [o.name for o in result.model.graph.output] == ["stage1", "stage2", "stage3", "stage4"]
    onnx.checker.check_model(result.model, full_check=True)
    x = {"input": batches()[0]}
    exact, equalised, int8 = (
        inference_session(m.SerializeToString(), 1).run(None, x)
        for m in (graph, result.reference, result.model)
    )
    for a, b, c in zip(exact, equalised, int8, strict=True):
        assert fidelity(a.reshape(1, -1), b.reshape(1, -1)).sqnr_db > 100
        # 43.0, 35.6, 32.3 and 31.0 measured
        assert fidelity(a.reshape(1, -1), c.reshape(1, -1)).sqnr_db > 28


def test_quantizing_is_reproducible() -> None:
    assert serialized(float_graph()) == original(XXS)


def test_sites_can_be_left_in_float() -> None:
    exceptions = {"stages.2.*.pwconv1": "a test", "head": "it is small"}
    result = quantize_static(float_graph(), batches(4), recipe(sites={"keep_float": exceptions}))
    assert result.float_sites["head"] == "it is small"
    assert result.float_sites["stages.2.3.pwconv1"] == "a test"
    quantized_weights = {
        t.name for t in result.model.graph.initializer if t.data_type == onnx.TensorProto.INT8
    }
    assert not any("head" in n or "stages.2.0.pwconv1" in n for n in quantized_weights)
    assert any("stages.2.0.pwconv2" in n for n in quantized_weights)


def test_a_site_that_does_not_exist() -> None:
    wrong = recipe(sites={"keep_float": {"stages.2.3.pwconv3": "typo"}})
    with pytest.raises(UsageError, match=r"stages\.2\.3\.pwconv[12]"):
        quantize_static(float_graph(), batches(4), wrong)


def test_what_cannot_be_quantized() -> None:
    with pytest.raises(ArtifactError, match="quantized already"):
        quantize_static(quantized().model, batches(), recipe())
    x = onnx.helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [1, 3])
    y = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, [1, 3])
    empty = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["input"], ["logits"], name="/Relu")], "g", [x], [y]
    )
    plain = recipe(sites={"keep_float": {}})
    with pytest.raises(ArtifactError, match="no convolution"):
        quantize_static(onnx.helper.make_model(empty), batches(), plain)
