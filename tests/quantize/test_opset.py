"""Quantized graphs in an older opset: the same answers, or a refusal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgenext import api
from edgenext.errors import UsageError
from edgenext.formats.onnx.session import inference_session
from edgenext.options import ExportOptions, ModelOptions, QuantizeOptions
from edgenext.quantize.opset import in_opset

MODEL = ModelOptions(random_weights=True, num_classes=10, size=32)


def reduction(operator: str) -> onnx.ModelProto:
    """Q/DQ of a number each row, in opset 20."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["d"]),
        helper.make_node(operator, ["d", "axes"], ["y"], keepdims=0),
    ]
    if operator == "Gelu":
        nodes[2] = helper.make_node("Gelu", ["d"], ["y"])
    constants = {"scale": np.float32(0.02), "zero": np.uint8(128), "axes": np.array([1])}
    kept = [n for n in constants if n != "axes" or operator != "Gelu"]
    shape = [4, 8] if operator == "Gelu" else [4]
    graph = helper.make_graph(
        nodes,
        "reduction",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(np.asarray(constants[n]), n) for n in kept],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=8)


def run(model: onnx.ModelProto) -> np.ndarray:
    x = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    return inference_session(model.SerializeToString(), 1).run(None, {"x": x})[0]


@pytest.mark.parametrize("operator", ["ReduceL2", "ReduceMean"])
@pytest.mark.parametrize("opset", [13, 17, 18, 19])
def test_reductions_are_written_as_an_opset_has_them(operator: str, opset: int) -> None:
    model = reduction(operator)
    before = model.SerializeToString()
    older = in_opset(model, opset)
    assert older.opset_import[0].version == opset
    assert len(older.graph.node[2].input) == (2 if opset > 17 else 1)
    np.testing.assert_array_equal(run(older), run(model))
    assert model.SerializeToString() == before


def test_what_an_opset_does_not_have_is_refused() -> None:
    model = reduction("Gelu")
    with pytest.raises(UsageError, match="opset 17 lacks") as caught:
        in_opset(model, 17)
    assert "--opset 20" in caught.value.remedy
    assert in_opset(model, 20) is model and in_opset(model, None) is model


@pytest.mark.slow
def test_an_int8_file_is_written_in_opset_17_and_made_again(tmp_path: Path) -> None:
    """Its GELUs are gates, so no operator of it needs opset 20."""
    options = QuantizeOptions(calib="digits", n=8)
    older = ExportOptions(opset=17)
    artifact = api.quantize("edgenext_xx_small", options, MODEL, older, out=tmp_path)
    assert artifact.name == "edgenext_xx_small-32-opset17-w8a8-static"
    assert artifact.manifest.opset == 17
    assert onnx.load(artifact.path).opset_import[0].version == 17
    assert artifact.manifest.parity and artifact.manifest.parity.sqnr_db > 25
    rebuilt = api.verify(artifact.path, rebuild=True, calib="digits").rebuild
    assert rebuilt and rebuilt.same, rebuilt
