from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from architectures import ARCHS
from golden import weights as golden

from edgenext.errors import ParityError, UsageError
from edgenext.export.onnx import STAGES, onnx_graph, with_stage_outputs
from edgenext.export.parity import measure_parity, require_parity, torch_reference
from edgenext.formats.onnx.session import inference_session
from edgenext.formats.session import normalise
from edgenext.models import zoo
from edgenext.models.network import EdgeNeXt
from edgenext.schema import EvalTransform

TRANSFORM = EvalTransform(size=64, crop_pct=1.0)


def network(arch: str = "edgenext_xx_small", features_only: bool = False) -> EdgeNeXt:
    net = zoo.create_model(arch, features_only=features_only)
    net.load_state_dict(golden.state(arch), strict=not features_only)
    return net.eval()


def images(n: int = 3, height: int = 64, width: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, height, width, 3), np.uint8)


def operators(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("form", ["naive", "convT"])
@pytest.mark.parametrize("arch", ARCHS)
def test_every_architecture_agrees_with_torch(arch: str, form: str) -> None:
    net = network(arch)
    model = onnx_graph(net, form, (64, 64))
    parity = measure_parity(model, torch_reference(net), images(), TRANSFORM)
    assert set(parity.stages) == set(STAGES)
    assert parity.sqnr_db > 105 and min(parity.stages.values()) > 105
    assert parity.agreement == 100
    require_parity(parity, 80, "it")


CASES = [
    (form, opset, batch)
    for form in ("naive", "convT")
    for opset in (13, 17, 20, 23)
    for batch in (1, 3, None)
]
IN_SUITE = [
    *(("convT", 13, 1), ("convT", 17, None), ("convT", 20, 3), ("convT", 23, None)),
    *(("naive", 13, None), ("naive", 20, 1)),
]


@pytest.mark.parametrize(
    ("form", "opset", "batch"),
    [c if c in IN_SUITE else pytest.param(*c, marks=pytest.mark.campaign) for c in CASES],
)
def test_opsets_batches_and_pixels(form: str, opset: int, batch: int | None) -> None:
    net = network()
    for pixels in (None, TRANSFORM):
        model = onnx_graph(net, form, (64, 96), batch=batch, opset=opset, pixels=pixels)
        assert [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")] == [opset]
        pictures = images(batch or 5, 64, 96)
        x = normalise(pictures, TRANSFORM)
        session = inference_session(model.SerializeToString(), 1)
        (got,) = session.run(None, {"input": pictures if pixels else x})
        with torch.no_grad():
            expected = net(torch.from_numpy(x)).numpy()
        assert np.abs(got - expected).max() < 1e-4


def test_the_fold_leaves_nothing_to_fold() -> None:
    plain, folded = (operators(onnx_graph(network(), f, (64, 64))) for f in ("naive", "convT"))
    assert len(folded) < 0.7 * len(plain)
    assert folded.count("Conv") == 49 and folded.count("Gemm") == 1  # all linear layers but one
    assert not {"Sin", "Cos", "Sqrt", "Pow", "BatchNormalization"} & set(folded)
    batch_norm = operators(onnx_graph(network("edgenext_xx_small_bn_hs"), "convT", (64, 64)))
    assert not {"BatchNormalization", "LayerNormalization"} & set(batch_norm)


def test_backbones_export() -> None:
    net = network(features_only=True)
    model = onnx_graph(net, "convT", (64, 64))
    assert [o.name for o in model.graph.output] == list(STAGES[1:])
    x = normalise(images(1), TRANSFORM)
    got = inference_session(model.SerializeToString(), 1).run(None, {"input": x})
    with torch.no_grad():
        expected = net(torch.from_numpy(x))
    for a, b in zip(got, expected, strict=True):
        assert a.shape == tuple(b.shape)
        assert np.abs(a - b.numpy()).max() < 1e-4
    require_parity(measure_parity(model, torch_reference(net), images(), TRANSFORM), 80, "it")


def test_exports_are_reproducible() -> None:
    first, second = (
        onnx_graph(network(), "convT", (64, 64)).SerializeToString(deterministic=True)
        for _ in range(2)
    )
    assert first == second


def test_a_wrong_graph_is_refused_and_its_stage_named() -> None:
    net = network()
    model = onnx_graph(net, "convT", (64, 64))
    for tensor in model.graph.initializer:
        if "stages.2.3.pwconv1.weight" in tensor.name:
            array = onnx.numpy_helper.to_array(tensor) * np.float32(1.01)
            tensor.CopyFrom(onnx.numpy_helper.from_array(array, tensor.name))
    parity = measure_parity(model, torch_reference(net), images(), TRANSFORM)
    assert parity.stages["stage2"] > 100
    with pytest.raises(ParityError, match="stage3 is the first to diverge"):
        require_parity(parity, 80, "it")


def test_stage_outputs_are_added_once() -> None:
    model = onnx_graph(network(features_only=True), "convT", (64, 64))
    names = [o.name for o in with_stage_outputs(model).graph.output]
    assert sorted(names) == sorted(STAGES)


@pytest.mark.parametrize("options", [{"opset": 12}, {"opset": 24}, {"batch": 0}])
def test_unsupported_options(options: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        onnx_graph(network(), "convT", (64, 64), **options)


def test_an_unknown_form() -> None:
    with pytest.raises(UsageError, match="convT"):
        onnx_graph(network(), "convX", (64, 64))


def test_an_unsupported_size() -> None:
    for form in ("naive", "convT"):
        with pytest.raises(UsageError, match="31×64"):
            onnx_graph(network(), form, (31, 64))


def pairs_that_cancel(model: onnx.ModelProto) -> list[str]:
    """Transposes that undo the one before them, with only elementwise operators in between."""
    elementwise = {"Gelu", "HardSwish", "Sqrt", "Clip", "QuantizeLinear", "DequantizeLinear"}
    makers = {name: node for node in model.graph.node for name in node.output}
    cancelled = []
    for node in (n for n in model.graph.node if n.op_type == "Transpose"):
        before = makers.get(node.input[0])
        while before is not None and before.op_type in elementwise:
            before = makers.get(before.input[0])
        if before is not None and before.op_type == "Transpose":
            first, second = before.attribute[0].ints, node.attribute[0].ints
            if [first[i] for i in second] == sorted(first):
                cancelled.append(node.name)
    return cancelled


@pytest.mark.parametrize("form", ["convT", "convC"])
@pytest.mark.parametrize("arch", ARCHS)
def test_no_transposes_cancel(arch: str, form: str) -> None:
    model = onnx_graph(network(arch), form, (64, 64))
    assert pairs_that_cancel(model) == []
    norms = sum(op == "LayerNormalization" for op in operators(model))
    transposes = sum(op == "Transpose" for op in operators(model))
    attention = sum(op == "Softmax" for op in operators(model))
    # two around each norm but the head's, two in each attention for its products
    assert transposes <= 2 * norms + 2 * attention


@pytest.mark.parametrize("pixels", [None, TRANSFORM], ids=["float", "pixels"])
def test_a_graph_that_simplification_changes_is_refused(
    pixels: EvalTransform | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def simplify(model: onnx.ModelProto) -> tuple[onnx.ModelProto, bool]:
        changed = onnx.ModelProto.FromString(model.SerializeToString())
        weight = next(t for t in changed.graph.initializer if "stages.3.1.pwconv1" in t.name)
        array = onnx.numpy_helper.to_array(weight) * np.float32(1.01)
        weight.CopyFrom(onnx.numpy_helper.from_array(array, weight.name))
        return changed, True

    monkeypatch.setattr("onnxsim.simplify", simplify)
    with pytest.raises(ParityError, match="onnxsim changed logits"):
        onnx_graph(network(), "convT", (64, 64), batch=None, pixels=pixels)
