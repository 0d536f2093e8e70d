"""What the vendors' own compilers refuse: the rules of the vendors' recipes are these."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import nvidia
import onnx
import pytest
import qualcomm

from edgenext.export.artifacts import graph_of
from edgenext.options import ExportOptions, ModelOptions
from edgenext.subjects import load

INT8 = {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}
LAYERS = ["Conv", "Gemm", "MatMul"]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((2, 3, 64, 64)).astype(np.float32)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small float graph."""
    checkpoint = load("edgenext_xx_small", ModelOptions(random_weights=True, size=64))
    model = graph_of(checkpoint, ExportOptions(form="convT")).model
    path = tmp_path_factory.mktemp("vendors") / "plain.onnx"
    onnx.save(model, path)
    return path


def quantized(plain: Path, images: np.ndarray, name: str, **options: object) -> Path:
    """The graph through onnxruntime's quantizer, which places what it is told."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.rows: Iterator[dict[str, np.ndarray]] = iter([{"input": x[None]} for x in images])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.rows, None)

    path = plain.with_name(f"{name}.onnx")
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises on its own preprocessing
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other people's deprecations
            quantize_static(plain, path, Reader(), quant_format=QuantFormat.QDQ, **options)
    finally:
        root.setLevel(level)
    return path


def symmetric(**extra: object) -> dict[str, object]:
    """onnxruntime's options for what NVIDIA takes, changed by `extra`."""
    from onnxruntime.quantization import QuantType

    return {
        "activation_type": QuantType.QInt8,
        "weight_type": QuantType.QInt8,
        "per_channel": True,
        "op_types_to_quantize": LAYERS,
        "extra_options": INT8 | extra,
    }


@nvidia.needed
def test_nvidia_takes_float_and_symmetric_int8(plain: Path, images: np.ndarray) -> None:
    assert nvidia.build(plain) == []
    assert nvidia.build(quantized(plain, images, "symmetric", **symmetric())) == []


@nvidia.needed
def test_nvidia_refuses_int32_biases(plain: Path, images: np.ndarray) -> None:
    (error,) = nvidia.build(quantized(plain, images, "bias", **symmetric(QuantizeBias=True)))
    assert "input has type Int32 but must have type FP8, FP4, Int4, Int8, or UInt8" in error


@nvidia.needed
@pytest.mark.parametrize("kind", ["QInt8", "QUInt8"])
def test_nvidia_refuses_zero_points(plain: Path, images: np.ndarray, kind: str) -> None:
    from onnxruntime.quantization import QuantType

    options = symmetric(ActivationSymmetric=False) | {"activation_type": QuantType[kind]}
    (error,) = nvidia.build(quantized(plain, images, f"zero_{kind}", **options))
    assert "Non-zero zero point is not supported" in error


def whole(plain: Path, *, gammas: str) -> dict[str, object]:
    """Everything in 8 bits with one scale a channel of weights, as Qualcomm takes it.

    Args:
        plain: the float graph.
        gammas: `per_tensor` or `per_channel` scales of LayerNormalization's weights.
    """
    from onnxruntime.quantization import QuantType

    model = onnx.load(plain)
    norms = [n.input[1] for n in model.graph.node if n.op_type == "LayerNormalization"]
    one = {name: [{"quant_type": QuantType.QUInt8}] for name in norms}
    return {
        "activation_type": QuantType.QUInt8,
        "weight_type": QuantType.QInt8,
        "per_channel": True,
        "op_types_to_quantize": sorted({n.op_type for n in model.graph.node} - {"Constant"}),
        "extra_options": {
            "WeightSymmetric": True,
            "TensorQuantOverrides": one if gammas == "per_tensor" else {},
        },
    }


@qualcomm.needed
@pytest.mark.parametrize("device", [qualcomm.V68, qualcomm.V75], ids=["v68", "v75"])
def test_qualcomm_takes_a_graph_that_is_all_8_bit(
    plain: Path, images: np.ndarray, device: dict[str, str]
) -> None:
    path = quantized(plain, images, "whole", **whole(plain, gammas="per_tensor"))
    session = qualcomm.HtpSession(path, device)
    assert set(session.nodes) == {qualcomm.PROVIDER} and session.nodes[qualcomm.PROVIDER] > 500
    assert np.isfinite(session.run(images[:1])).all()


@qualcomm.needed
def test_qualcomm_refuses_a_scale_for_each_gamma(plain: Path, images: np.ndarray) -> None:
    path = quantized(plain, images, "gammas", **whole(plain, gammas="per_channel"))
    with pytest.raises(qualcomm.RefusedError, match="fallback to CPU EP has been explicitly"):
        qualcomm.HtpSession(path)
    assert qualcomm.left_over(path)["LayerNormalization"] == 20


@qualcomm.needed
def test_qualcomm_refuses_float_islands_where_there_is_no_float(
    plain: Path, images: np.ndarray
) -> None:
    """The older NPUs refuse them; newer ones hide them, in 16-bit floats."""
    islands = quantized(plain, images, "islands", **symmetric())
    for path in (plain, islands):
        with pytest.raises(qualcomm.RefusedError, match="Failed to finalize QNN graph"):
            qualcomm.HtpSession(path, qualcomm.V68)
        assert set(qualcomm.HtpSession(path, qualcomm.V75).nodes) == {qualcomm.PROVIDER}
