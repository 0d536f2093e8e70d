"""Bounds of a graph: never exceeded, near enough to be of use, and true to what overflows."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import pytest
import torch
from golden import weights as golden
from onnx import TensorProto, helper, numpy_helper

from edgenext.export.onnx import onnx_graph
from edgenext.formats.onnx.session import inference_session, tracer
from edgenext.formats.session import normalise
from edgenext.formats.torch_graph import torch_graph
from edgenext.graph.ranges import Ranges, input_range, limit_of, propagate
from edgenext.models import zoo
from edgenext.models.network import EdgeNeXt
from edgenext.quantize.half_precision import to_fp16
from edgenext.quantize.recipe import load_recipe
from edgenext.quantize.static import quantize_static
from edgenext.schema import EvalTransform

XXS, BN = "edgenext_xx_small", "edgenext_xx_small_bn_hs"
SIZE = 64
TRANSFORM = EvalTransform(size=SIZE)
INPUTS = input_range(TRANSFORM)


@cache
def network(arch: str = XXS) -> EdgeNeXt:
    net = zoo.create_model(arch)
    net.load_state_dict(golden.state(arch))
    return net.eval().requires_grad_(False)


@cache
def graph(arch: str = XXS, form: str = "convC", opset: int = 17) -> onnx.ModelProto:
    return onnx_graph(network(arch), form, (SIZE, SIZE), opset=opset)


@cache
def int8(scheme: str = "w8a8-static") -> onnx.ModelProto:
    target = "cpu-onnxruntime" if scheme == "w8a8-static" else "htp"
    recipe = load_recipe(target, scheme)
    nearest = recipe.weights.model_copy(update={"rounding": "nearest", "fit": 0.0})
    recipe = recipe.model_copy(update={"weights": nearest})
    model = graph(form="convT", opset=recipe.opset)
    return quantize_static(model, [normalise(x[None], TRANSFORM) for x in pixels(4)], recipe).model


@cache
def half(form: str = "convC", opset: int = 13) -> onnx.ModelProto:
    return to_fp16(graph(form=form, opset=opset), INPUTS).model


def pixels(n: int, seed: int = 0) -> np.ndarray:
    """Images of the kinds that reach furthest: noise, black and white, stripes, one colour."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (n, SIZE, SIZE, 3), np.uint8)
    images[1::4] = 255 * (images[1::4] > 127)
    images[2::4] = images[2::4, :1, :1]
    images[3::4] = 255 * (np.arange(SIZE)[:, None, None] // 2 % 2)
    return images


def ranges(model: onnx.ModelProto, *, is_half: bool = False) -> Ranges:
    return propagate(model, INPUTS.low, INPUTS.high, half=is_half)


def exceeded(bounds: Ranges, tensors: dict[str, np.ndarray]) -> list[str]:
    """Tensors with a value outside their bounds."""
    return [
        name
        for name, value in tensors.items()
        if not (
            (value >= bounds.bounds[name].low).all() and (value <= bounds.bounds[name].high).all()
        )
    ]


CASES = {
    "naive": lambda: graph(form="naive"),
    "convT": lambda: graph(form="convT", opset=20),
    "convC": lambda: graph(form="convC"),
    "bn": lambda: graph(BN, "convT"),
    "bn naive": lambda: graph(BN, "naive", 13),
    "w8a8": int8,
    "w8a16": lambda: int8("w8a16-static"),
    "fp16": half,
    "fp16 convT": lambda: half("convT", 17),
}


IN_SUITE = ("convT", "bn", "w8a8", "fp16")
"""The others have the same operators in other forms: a campaign."""


@pytest.mark.parametrize(
    "case",
    [c if c in IN_SUITE else pytest.param(c, marks=pytest.mark.campaign) for c in CASES],
)
def test_no_image_leaves_the_bounds(case: str) -> None:
    model = CASES[case]()
    bounds = ranges(model)
    assert bounds.unbounded == ()
    trace = tracer(model, every_type=True)
    for image in pixels(4):
        tensors = trace(normalise(image[None], TRANSFORM))
        assert len(tensors) > 100
        assert exceeded(bounds, tensors) == []


def cut(model: onnx.ModelProto, name: str) -> torch.nn.Module:
    """The graph up to a tensor, for gradients."""
    copy = onnx.ModelProto.FromString(model.SerializeToString())
    del copy.graph.output[:]
    copy.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return torch_graph(onnx.utils.Extractor(copy).extract_model(["input"], [name]))


def sought(module: torch.nn.Module, steps: int = 12) -> float:
    """The largest absolute value that ascent along the gradient's sign finds."""
    low, high = (torch.from_numpy(v).float() for v in (INPUTS.low, INPUTS.high))
    generator = torch.Generator().manual_seed(0)
    x = low + (high - low) * torch.rand(1, 3, SIZE, SIZE, generator=generator).round()
    most = 0.0
    for _ in range(steps):
        x.requires_grad_(True)
        y = module(x)
        value = y.abs().max()
        most = max(most, float(value.detach()))
        (gradient,) = torch.autograd.grad(value, x)
        with torch.no_grad():
            x = torch.clamp(x + 0.25 * (high - low) * gradient.sign(), low, high)
    return most


def test_no_sought_image_leaves_the_bounds() -> None:
    """Ascent reaches a good part of the bounds, and never beyond."""
    model = graph(opset=20)
    bounds = ranges(model)
    kinds: dict[str, list[str]] = {}
    for node in model.graph.node:
        kinds.setdefault(node.op_type, []).append(node.output[0])
    names = ["stem", "stage1", "stage2", "logits", kinds["ReduceL2"][0], kinds["Conv"][3]]
    shares = {}
    for name in names:
        most = bounds.bounds[name].most
        shares[name] = sought(cut(model, name)) / most
        assert shares[name] <= 1, (name, shares[name])
    assert shares["stem"] > 0.5 and max(shares.values()) > 0.5
    assert min(shares.values()) > 1e-3, shares


def test_structure_gives_its_bounds() -> None:
    for form in ("naive", "convT"):
        model, bounds = graph(form=form), ranges(graph(form=form))
        softmax = [bounds.bounds[n.output[0]] for n in model.graph.node if n.op_type == "Softmax"]
        assert len(softmax) == 3 and all(b.most < 1.001 for b in softmax)
        scores = [
            bounds.bounds[n.input[0]].most for n in model.graph.node if n.op_type == "Softmax"
        ]
        hottest = max(
            float(v.abs().max()) for k, v in network().state_dict().items() if "temperature" in k
        )
        assert max(scores) < 1.02 * hottest  # a product of normalised rows is at most 1
        assert all(item.bound <= limit_of(item) for item in bounds.items)
        assert bounds.bounds["logits"].most < 1e6


def test_a_planted_overflow_is_found_where_it_is() -> None:
    model = onnx.ModelProto.FromString(graph(form="convT").SerializeToString())
    weight = next(t for t in model.graph.initializer if "stages.2.1.dwconv.weight" in t.name)
    values = numpy_helper.to_array(weight) * np.float32(3e4)
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    before, after = (
        [i for i in ranges(m, is_half=True).items if not i.bound <= limit_of(i)]
        for m in (graph(form="convT"), model)
    )
    new = [i for i in after if i.name not in {j.name for j in before}]
    assert new and "stages.2.1/dwconv" in new[0].node
    output = new[0].name
    tensors = tracer(model)(normalise(pixels(1), TRANSFORM))
    assert np.abs(tensors[output]).max() > 65504  # it does overflow


def test_sums_of_integers() -> None:
    sums = [i for i in ranges(int8()).items if i.dtype == TensorProto.INT32]
    assert len(sums) > 40 and all(0 < i.bound <= limit_of(i) / 30 for i in sums)
    wide = [i for i in ranges(int8("w8a16-static")).items if i.dtype == TensorProto.INT32]
    assert max(i.bound for i in wide) > 100 * max(i.bound for i in sums)


def test_an_unknown_operator_has_no_bound() -> None:
    model = onnx.ModelProto.FromString(graph().SerializeToString())
    node = next(n for n in model.graph.node if n.op_type == "ReduceL2")
    node.op_type, node.domain = "LearnedNorm", "elsewhere"
    model.opset_import.append(helper.make_opsetid("elsewhere", 1))
    bounds = ranges(model)
    assert bounds.unbounded == ("LearnedNorm",)
    assert not np.isfinite(next(i for i in bounds.items if i.operator == "LearnedNorm").bound)


def with_outliers(factor: float) -> onnx.ModelProto:
    """A graph whose streams of one stage are so large that a norm's squares leave float16."""
    model = onnx.ModelProto.FromString(graph(opset=13).SerializeToString())
    for tensor in model.graph.initializer:
        if "downsample_layers.2.1" in tensor.name:
            values = numpy_helper.to_array(tensor) * np.float32(factor)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model


def test_float16_keeps_what_it_cannot_hold() -> None:
    """A norm whose square overflows in float16 gives the network's answer all the same."""
    model = with_outliers(300.0)
    result = to_fp16(model, INPUTS)
    assert result.doubts == ()
    assert any("norm" in site for site in result.in_float32) and any(
        "xca" in site for site in result.in_float32
    )
    items = ranges(result.model).items
    assert all(item.bound <= limit_of(item) for item in items)
    x = normalise(pixels(8), TRANSFORM)
    outputs = []
    for m in (model, result.model):
        session = inference_session(m.SerializeToString(), 1, optimised=False)
        outputs.append(np.concatenate([session.run(None, {"input": v[None]})[0] for v in x]))
    error = np.square(outputs[0] - outputs[1]).sum() / np.square(outputs[0]).sum()
    assert error < 1e-3
    casts = [n for n in result.model.graph.node if n.op_type == "Cast"]
    assert len(casts) < 160  # none between two nodes in float32
