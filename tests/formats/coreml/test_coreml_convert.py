"""Core ML's converter on small graphs: images as inputs, names as outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from mil_packages import IGNORED_WARNINGS, PIXELS
from onnx import TensorProto, helper, numpy_helper

from edgenext.errors import ArtifactError
from edgenext.formats.coreml.convert import convert
from edgenext.formats.coreml.session import MilProgram
from edgenext.schema import EvalTransform

pytestmark = IGNORED_WARNINGS

WEIGHTS = np.random.default_rng(0).integers(-127, 128, (5, 3, 8, 8)).astype(np.int8)
SCALES = np.linspace(1e-5, 3e-5, 5, dtype=np.float32)


def quantized(
    path: Path, scale: float = 1.0, first: bool = True, levels: np.ndarray = WEIGHTS
) -> Path:
    """Bytes of an image, transposed first or dequantized, and a convolution of int8 weights."""
    constants = {
        "one": np.float32(scale), "none": np.uint8(0), "levels": levels, "scales": SCALES,
        "zeros": np.zeros(5, np.int8), "axes": np.array([2, 3], np.int64),
    }  # fmt: skip
    transpose = helper.make_node(
        "Transpose", *((["image"], ["bytes"]) if first else (["pixels"], ["planes"])),
        perm=[0, 3, 1, 2],
    )  # fmt: skip
    dequantize = helper.make_node(
        "DequantizeLinear", ["bytes" if first else "image", "one", "none"],
        ["planes" if first else "pixels"],
    )  # fmt: skip
    nodes = [
        *((transpose, dequantize) if first else (dequantize, transpose)),
        helper.make_node("DequantizeLinear", ["levels", "scales", "zeros"], ["w"], axis=0),
        helper.make_node("Conv", ["planes", "w"], ["c"], strides=[1, 1], dilations=[1, 1], group=1),
        helper.make_node("Squeeze", ["c", "axes"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "it",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, 8, 8, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 5])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), path)
    return path


def job(graph: Path, **changes: object) -> dict[str, Any]:
    about = {
        "graph": str(graph), "out": str(graph.with_suffix(".mlpackage")), "image": True,
        "scheme": "w8a8-static", "ios": "17", "arch": "it", "num_classes": 5,
        "class_names": ["crane", "crane", "ant", "bee", "cat"],
        "eval": EvalTransform(size=8).model_dump(),
    }  # fmt: skip
    return about | changes


@pytest.mark.parametrize("first", [True, False])
def test_a_quantized_graph_takes_an_image(tmp_path: Path, first: bool) -> None:
    """Its pixels are bytes already: nothing dequantizes the image, which is given as floats."""
    told = job(quantized(tmp_path / "it.onnx", first=first))
    result = convert(told)
    program = MilProgram(Path(told["out"]))
    assert program.images == {"image": "RGB"}
    assert program.classes == ("crane", "crane (2)", "ant", "bee", "cat")
    assert result["class_names"] == list(program.classes)
    name, _ = program.classifier_logits()
    logits = program.run({"image": PIXELS}, also=(name,))[name].reshape(-1)
    weights = WEIGHTS.astype(np.float64) * SCALES[:, None, None, None]
    expected = np.einsum("hwc,ochw->o", PIXELS[0].astype(np.float64), weights)
    np.testing.assert_allclose(logits, expected, rtol=5e-3, atol=5e-3)
    assert "quantize" not in program.operators()


def test_int4_weights_take_half_the_bytes_and_compute_the_same(tmp_path: Path) -> None:
    levels = (WEIGHTS // 18).astype(np.int8)  # −8 to 7 would fit too; the quantizer keeps to ±7
    levels = np.clip(levels, -7, 7)
    sizes, results = [], []
    for scheme in ("w8a8-static", "w4a8-static"):
        graph = quantized(tmp_path / f"{scheme}.onnx", levels=levels)
        told = job(graph, scheme=scheme)  # for iOS 17 and 18
        convert(told)
        out = Path(told["out"])
        (blob,) = out.rglob("weight.bin")
        sizes.append(blob.stat().st_size)
        program = MilProgram(out)
        name, _ = program.classifier_logits()
        results.append(program.run({"image": PIXELS}, also=(name,))[name])
    assert sizes[0] - sizes[1] == levels.size // 2
    np.testing.assert_array_equal(*results)


def test_scaled_pixels_are_no_image(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="whose pixels are scaled cannot take an image"):
        convert(job(quantized(tmp_path / "it.onnx", scale=2.0)))
