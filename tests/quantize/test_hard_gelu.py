from __future__ import annotations

from collections import Counter
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from architectures import ARCHS
from quantized_graphs import (
    XXS,
    batches,
    float_graph,
    logits,
    network,
    optimised,
    pictures,
    recipe,
    sqnr,
)

from edgenext.errors import UsageError
from edgenext.export.onnx import onnx_graph
from edgenext.formats.onnx.session import inference_session
from edgenext.graph.stress import rescaled_twin
from edgenext.metrics.fidelity import fidelity
from edgenext.quantize.calibrate import calibrate
from edgenext.quantize.hard_gelu import before_hardening, harden, hardened, is_hardenable
from edgenext.quantize.plan import NOT_HARD, make_plan
from edgenext.quantize.recipe import HardGelu, Recipe, load_recipe, parse_recipe, with_gelu
from edgenext.quantize.sensitivity import SensitivityInputs, site_sensitivity
from edgenext.quantize.static import QuantizedGraph, quantize_static
from edgenext.quantize.trainable_graph import TrainableGraph
from edgenext.targets.target import recipe_text

SWISH = HardGelu(reason="the test")
RELU = HardGelu(function="Relu", reason="the test")
TARGETS = ("cpu-onnxruntime", "cpu-openvino")


def openvino(**changes: dict[str, object] | None) -> Recipe:
    return recipe(target="cpu-openvino", **changes)


def graph(arch: str = XXS) -> onnx.ModelProto:
    return float_graph(arch, "convC")


@cache
def quantized(arch: str = XXS) -> QuantizedGraph:
    return quantize_static(graph(arch), batches(), openvino())


def activations(model: onnx.ModelProto) -> list[str]:
    return [n.op_type for n in model.graph.node if n.op_type in ("Gelu", "HardSwish")]


def test_the_difference_from_gelu() -> None:
    x = np.linspace(-8, 8, 4001, dtype=np.float32)
    for options, most, at in ((SWISH, 0.0877, 1.6), (RELU, 0.17, 0.75)):
        factor = np.float32(options.factor)
        gelu = before_hardening(x * factor, options) / factor
        error = np.abs(hardened(x * factor, options) / factor - gelu)
        assert error.max() == pytest.approx(most, rel=0.05)
        assert abs(x[error.argmax()]) == pytest.approx(at, rel=0.05)
        assert error[np.abs(x) > 4].max() < 1e-3


@pytest.mark.parametrize("arch", ARCHS)
def test_every_gelu_is_replaced_and_the_logits_stay(arch: str) -> None:
    gelus = activations(graph(arch)).count("Gelu")
    assert activations(quantized(arch).model) == ["HardSwish"] * len(activations(graph(arch)))
    assert quantized(arch).reference is not None
    assert activations(quantized(arch).reference).count("Gelu") == gelus  # the reference is exact
    assert sqnr(graph(arch), quantized(arch).model) > 24, arch


def block(width: int = 16) -> onnx.ModelProto:
    """Two pointwise layers with a GELU between, as a block's; their input is N×C×8×8."""
    make, rng = onnx.helper.make_node, np.random.default_rng(0)

    def constant(name: str, *shape: int) -> onnx.TensorProto:
        values = rng.normal(size=shape) / np.sqrt(shape[1] if len(shape) > 1 else 16)
        return onnx.numpy_helper.from_array(values.astype(np.float32), name)

    path, wide = "/stages.0/stages.0.0", 4 * width
    nodes = [
        make("Conv", ["input", "w1", "b1"], ["x"], f"{path}/pwconv1/Conv"),
        make("Gelu", ["x"], ["y"], f"{path}/act/Gelu"),
        make("Conv", ["y", "w2", "b2"], ["logits"], f"{path}/pwconv2/Conv"),
    ]
    weights = [constant("w1", wide, width, 1, 1), constant("b1", wide)]
    weights += [constant("w2", width, wide, 1, 1), constant("b2", width)]
    value = onnx.helper.make_tensor_value_info
    ends = [value(name, 1, [1, width, 8, 8]) for name in ("input", "logits")]
    parts = onnx.helper.make_graph(nodes, "block", ends[:1], ends[1:], weights)
    return onnx.helper.make_model(parts, opset_imports=[onnx.helper.make_opsetid("", 20)])


def test_the_layer_behind_makes_up_for_a_part_of_the_difference() -> None:
    def noise_db(**changes: dict[str, object] | None) -> float:
        rng = np.random.default_rng(1)
        x = rng.normal(size=(96, 1, 16, 8, 8)).astype(np.float32)
        quantized = quantize_static(block(), list(x[:64]), openvino(**changes)).model
        expected, actual = (run(model, x[64:]) for model in (block(), quantized))
        return fidelity(expected, actual).sqnr_db

    without = {"fit": 0.0, "rounding": "nearest"}
    hard, hard_alone = noise_db(), noise_db(weights=without)
    exact = noise_db(hard_gelu=None, sites=exact_sites())
    assert (hard, hard_alone, exact) == pytest.approx((29.3, 27.7, 36.2), abs=0.3)


def run(model: onnx.ModelProto, inputs: np.ndarray) -> np.ndarray:
    session = inference_session(model.SerializeToString(), 1)
    return np.concatenate([session.run(None, {"input": x})[0] for x in inputs]).reshape(32, -1)


def exact_sites() -> dict[str, object]:
    """Without activations."""
    sites = openvino().sites
    assert sites is not None
    return {"quantize": tuple(kind for kind in sites.quantize if kind != "activation")}


def test_the_slope_is_taken_by_the_layers_around() -> None:
    """The hardened graph is the graph with HardSwish(slope · x) / slope in place of each GELU."""
    model = ir.from_proto(onnx.shape_inference.infer_shapes(graph()))
    nodes = [n for n in model.graph if n.op_type == "Gelu"]
    names = [str(v.name) for n in nodes for v in (n.inputs[0], n.outputs[0]) if v is not None]
    stats = calibrate(graph(), names, batches(4), seed=0)
    stats = harden(model.graph, nodes, stats, SWISH)
    folded = ir.to_proto(model)
    written_out = onnx.ModelProto()
    written_out.CopyFrom(graph())
    written_out.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(SWISH.slope), "s"))
    replaced = []
    for node in written_out.graph.node:
        if node.op_type != "Gelu":
            replaced.append(node)
            continue
        (x,), (y,) = node.input, node.output
        make = onnx.helper.make_node
        replaced += [
            make("Mul", [x, "s"], [f"{y}_steep"]),
            make("HardSwish", [f"{y}_steep"], [f"{y}_hard"]),
            make("Div", [f"{y}_hard", "s"], [y]),
        ]
    del written_out.graph.node[:]
    written_out.graph.node.extend(replaced)
    assert sqnr(written_out, folded) > 110
    for node in nodes[:1]:  # later ones read what earlier ones changed
        assert node.inputs[0] is not None
        real = calibrate(
            folded, [str(node.inputs[0].name), str(node.outputs[0].name)], batches(4), 0
        )
        for name, expected in real.items():
            got = stats[name]
            assert np.allclose(got.high.max(), expected.high.max(), rtol=1e-4)
            assert np.allclose(got.low.min(), expected.low.min(), rtol=1e-2)


def test_a_site_that_is_kept_keeps_its_gelu() -> None:
    kept = {"stages.0.*.act": "the test"}
    some = quantize_static(graph(), batches(), openvino(sites={"keep_float": kept}))
    assert activations(some.model).count("Gelu") == 2
    assert some.float_sites["stages.0.0.act"] == "the test"
    assert "stages.1.0.act" not in some.float_sites
    assert sqnr(graph(), some.model) > sqnr(graph(), quantized().model)


def test_a_gelu_that_others_read_too_stays() -> None:
    shared = onnx.ModelProto()
    shared.CopyFrom(graph())
    first = next(n for n in shared.graph.node if n.op_type == "Gelu")
    shared.graph.output.append(onnx.helper.make_tensor_value_info(first.output[0], 1, None))
    shared.graph.node.append(onnx.helper.make_node("Relu", [first.output[0]], ["another reader"]))
    model = ir.from_proto(onnx.shape_inference.infer_shapes(shared))
    nodes = [n for n in model.graph if n.op_type == "Gelu"]
    assert [is_hardenable(n) for n in nodes] == [False] + [True] * (len(nodes) - 1)
    plan = make_plan(model.graph, openvino())
    assert len(plan.hard) == len(nodes) - 1
    assert plan.float_sites["stages.0.0.act"] == NOT_HARD


def test_a_stressed_twin_gives_the_same_file() -> None:
    def file(model: onnx.ModelProto) -> bytes:
        result = quantize_static(model, batches(4), openvino(), seed=3).model
        return result.SerializeToString(deterministic=True)

    twin = rescaled_twin(network(), seed=1, strength=3)
    assert file(onnx_graph(twin, "convC", (64, 64))) == file(graph())


@pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
def test_openvino_computes_it_inside_the_convolution() -> None:
    from edgenext.formats.openvino.session import compiled_model

    compiled = compiled_model(quantized().model.SerializeToString(), threads=1)
    nodes = [n.get_rt_info() for n in compiled.get_runtime_model().get_ordered_ops()]
    alone = [i["originalLayersNames"] for i in nodes if "swish" in str(i["layerType"]).lower()]
    assert not alone
    x = np.random.default_rng(0).normal(size=(1, 3, 64, 64)).astype(np.float32)
    ours = compiled([x])[compiled.output(0)]
    session = inference_session(quantized().model.SerializeToString(), 1)
    theirs = session.run(None, {"input": x})[0]
    noise = float(np.square(ours - theirs).sum() / np.square(theirs).sum())
    assert -10 * np.log10(noise) > 35


def test_a_recipe_with_both_replacements_is_refused() -> None:
    text = recipe_text("cpu-onnxruntime", "w8a8-static")
    text += '\n[hard_gelu]\nreason = "the test"\n'
    with pytest.raises(UsageError, match=r"the recipe has a \[gate\] and a \[hard_gelu\]"):
        parse_recipe(text, "the recipe")


def test_the_noise_of_a_hard_gelu_is_measured_site_by_site(tmp_path: Path) -> None:
    images = list(pictures(2, 8)[:, None])
    inputs = SensitivityInputs(graph(), openvino(), batches(4), images, None)
    recipe_effect, (row,) = site_sensitivity(inputs, tmp_path / "cache.json", "stages.0.0.act")
    assert not row.kept
    assert 27 < recipe_effect.sqnr_db < row.changed.sqnr_db < row.only.sqnr_db < 90


def test_onnxruntime_computes_a_relu_where_it_rounds(tmp_path: Path) -> None:
    relu = with_gelu(recipe(), "relu")
    model = quantize_static(float_graph(), batches(), relu).model
    operators = optimised(model, tmp_path)
    assert operators["QLinearConv"] == 48 and operators["QGemm"] == 1
    assert not {"Relu", "Gelu", "QLinearSigmoid", "QLinearMul"} & operators.keys()
    assert sqnr(float_graph(), model) > 18


@pytest.mark.parametrize("target", TARGETS)
def test_another_function_can_be_requested(target: str) -> None:
    own = load_recipe(target)
    form = "convT" if target == "cpu-onnxruntime" else "convC"
    for gelu, operator in (("", ""), ("exact", "Gelu"), ("relu", "Relu")):
        result = quantize_static(float_graph(XXS, form), batches(4), with_gelu(own, gelu))
        made = Counter(n.op_type for n in result.model.graph.node)
        assert made[operator] == (12 if operator else 0)
        assert sqnr(float_graph(XXS, form), result.model) > 18
    assert with_gelu(own, "") is own


def test_functions_that_cannot_be_requested() -> None:
    with pytest.raises(UsageError, match=r"unknown function 'swish'. Known: exact, relu"):
        with_gelu(load_recipe("cpu-openvino"), "swish")
    dynamic = load_recipe("cpu-onnxruntime", "w8a8-dynamic")
    with pytest.raises(UsageError, match="w8a8-dynamic leaves GELU as it is"):
        with_gelu(dynamic, "relu")


@pytest.mark.parametrize("gelu", ["relu", ""])
def test_torch_computes_and_trains_the_same(gelu: str) -> None:
    """As `--qat` and the converters that start from torch need it."""
    changed = with_gelu(openvino(), gelu)
    model = quantize_static(graph(), batches(4), changed).model
    trained = TrainableGraph(model, changed)
    with torch.no_grad():
        simulated = np.asarray(trained.network(torch.from_numpy(pictures(2, 48))))
    assert fidelity(logits(model), simulated).sqnr_db > 35
    assert activations(trained.written()) == activations(model)
