"""int4 weights in TFLite files: packed where they fit, with the same results."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from private import private_python

from edgenext import api
from edgenext.formats.tflite.int4 import pack_int4, packed_nibbles
from edgenext.options import ExportOptions, ModelOptions, QuantizeOptions

pytest.importorskip("ai_edge_litert", reason="no LiteRT (pip install 'edgenext[tflite]')")

RNG = np.random.default_rng(0)


def convolution(limit: int) -> bytes:
    """A 1×1 convolution of int8 activations and weights within ±limit."""
    from edgenext.formats.tflite.writer import Writer

    writer = Writer()
    source = writer.activation("image", (1, 4, 4, 9), np.int8, 0.05, 3, (0, 1, 2, 3))
    result = writer.activation("logits", (1, 4, 4, 5), np.int8, 0.1, -4, (0, 1, 2, 3))
    weights = RNG.integers(-limit, limit + 1, (5, 1, 1, 9)).astype(np.int8)
    weights[0, 0, 0, 0] = limit
    scales = np.linspace(0.01, 0.05, 5)
    filters = writer.constant("weights", weights, list(scales))
    bias = writer.constant("bias", np.arange(5, dtype=np.int32), list(scales * 0.05))
    options = {"strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1, "padding": 1}
    writer.operator("CONV_2D", [source.index, filters, bias], [result], **options)
    return writer.content(source, result, "it")


def outputs(content: bytes) -> np.ndarray:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    x = np.random.default_rng(1).integers(-128, 128, (1, 4, 4, 9)).astype(np.int8)
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


def constants(content: bytes) -> Counter[str]:
    """Bytes of constants by type."""
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromPackedBuf(content, 0)
    names = {value: name for name, value in vars(schema.TensorType).items()}
    sizes: Counter[str] = Counter()
    for tensor in model.subgraphs[0].tensors:
        data = model.buffers[tensor.buffer].data
        sizes[names[tensor.type]] += 0 if data is None else len(data)
    return sizes


def test_weights_that_fit_are_packed_and_compute_the_same() -> None:
    content = convolution(7)
    packed = pack_int4(content)
    assert constants(packed)["INT4"] == 23 and constants(content)["INT8"] == 45
    assert len(packed) <= len(content)
    np.testing.assert_array_equal(outputs(packed), outputs(content))
    assert pack_int4(packed) == packed


def test_wider_weights_stay_as_they_are() -> None:
    content = convolution(8)
    assert constants(pack_int4(content)) == constants(content)


def test_the_first_of_two_levels_is_in_the_lower_half() -> None:
    levels = np.asarray([1, -1, 7, -7, 3], np.int8)
    assert packed_nibbles(levels).tolist() == [0xF1, 0x97, 0x03]


@pytest.mark.campaign
def test_a_network_with_int4_weights(tmp_path: Path) -> None:
    private_python("tflite")
    model = ModelOptions(random_weights=True, num_classes=10, size=32)
    sizes = {}
    for scheme in ("w8a8-static", "w4a8-static"):
        options = QuantizeOptions(scheme, "tflite", calib="digits", n=16)
        export = ExportOptions(format="tflite")
        artifact = api.quantize("edgenext_xx_small", options, model, export, out=tmp_path)
        sizes[scheme] = artifact.manifest.size_bytes
        assert artifact.manifest.conversion_parity
        assert artifact.manifest.conversion_parity.sqnr_db > 22
    assert sizes["w4a8-static"] < 0.7 * sizes["w8a8-static"]
