"""What the vendors' compilers refuse: the recipes for their targets follow these rules."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from vendored import artifact_of, nvidia, qualcomm

from edgenext.commands.subject import load
from edgenext.export.deployment_graph import graph_of
from edgenext.export.settings import resolve
from edgenext.formats.check import check_artifact
from edgenext.options import ExportOptions, ModelOptions
from edgenext.schema import CheckReport

INT8 = {"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False}
LAYERS = ["Conv", "Gemm", "MatMul"]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small float graph."""
    checkpoint = load(
        "edgenext_xx_small", ModelOptions(random_weights=True, num_classes=10, size=32)
    )
    model = graph_of(checkpoint, resolve(ExportOptions(form="convT"))).model
    path = tmp_path_factory.mktemp("vendors") / "plain.onnx"
    onnx.save(model, path)
    return path


def quantized(plain: Path, images: np.ndarray, name: str, **options: object) -> Path:
    """The graph, quantized by onnxruntime with any options."""
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


def report_on(path: Path, target: str, **options: str) -> CheckReport:
    """A vendor's report on an ONNX file."""
    return check_artifact(
        artifact_of(onnx.load(path), path.with_suffix(".checked.onnx")), target, **options
    )


def symmetric(**extra: object) -> dict[str, object]:
    """Options of onnxruntime's quantizer for graphs that NVIDIA takes, changed by `extra`."""
    from onnxruntime.quantization import QuantType

    return {
        "activation_type": QuantType.QInt8,
        "weight_type": QuantType.QInt8,
        "per_channel": True,
        "op_types_to_quantize": LAYERS,
        "extra_options": INT8 | extra,
    }


@nvidia
def test_nvidia_takes_float_and_symmetric_int8(plain: Path, images: np.ndarray) -> None:
    for path in (plain, quantized(plain, images, "symmetric", **symmetric())):
        report = report_on(path, "jetson")
        assert report.accepted and report.delegated, report.errors


@nvidia
def test_nvidia_refuses_int32_biases(plain: Path, images: np.ndarray) -> None:
    report = report_on(quantized(plain, images, "bias", **symmetric(QuantizeBias=True)), "jetson")
    assert not report.accepted
    (refusal,) = report.refusals
    assert refusal.operator == "DequantizeLinear" and "bias" in refusal.names[0]
    assert "has type Int32 but must have type FP8, FP4, Int4, Int8, or UInt8" in refusal.reason


@nvidia
@pytest.mark.parametrize("kind", ["QInt8", "QUInt8"])
def test_nvidia_refuses_zero_points(plain: Path, images: np.ndarray, kind: str) -> None:
    from onnxruntime.quantization import QuantType

    options = symmetric(ActivationSymmetric=False) | {"activation_type": QuantType[kind]}
    report = report_on(quantized(plain, images, f"zero_{kind}", **options), "jetson")
    assert not report.accepted and len(report.errors) == 1
    (refusal,) = report.refusals
    assert refusal.operator == "QuantizeLinear"
    assert "Non-zero zero point is not supported" in refusal.reason


def all_8_bit(plain: Path, *, gammas: str) -> dict[str, object]:
    """Options for everything in 8 bits, with a scale per channel of weights, as Qualcomm takes it.

    Args:
        plain: the float graph.
        gammas: `unsigned` or `signed`, of LayerNormalization's weights; its biases are int32.
    """
    from onnxruntime.quantization import QuantType

    model = onnx.load(plain)
    norms = [n.input[1] for n in model.graph.node if n.op_type == "LayerNormalization"]
    overrides = {name: [{"quant_type": QuantType.QUInt8}] for name in norms}
    return {
        "activation_type": QuantType.QUInt8,
        "weight_type": QuantType.QInt8,
        "per_channel": True,
        "op_types_to_quantize": sorted({n.op_type for n in model.graph.node} - {"Constant"}),
        "extra_options": {
            "WeightSymmetric": True,
            "TensorQuantOverrides": overrides if gammas == "unsigned" else {},
        },
    }


@qualcomm
@pytest.mark.parametrize("soc", ["SM8350", pytest.param("SM8650", marks=pytest.mark.campaign)])
def test_qualcomm_takes_a_graph_that_is_all_8_bit(
    plain: Path, images: np.ndarray, soc: str
) -> None:
    path = quantized(plain, images, "whole", **all_8_bit(plain, gammas="unsigned"))
    report = report_on(path, "htp", soc=soc)
    assert report.accepted and report.delegated and not report.refusals
    (npu,) = report.placements
    assert npu.unit == "npu" and npu.total > 500


@qualcomm
def test_qualcomm_refuses_signed_gammas_with_wide_betas(plain: Path, images: np.ndarray) -> None:
    path = quantized(plain, images, "gammas", **all_8_bit(plain, gammas="signed"))
    report = report_on(path, "htp")
    assert report.accepted and report.delegated is False
    refused = {r.operator: r for r in report.refusals}
    norms = refused["LayerNormalization"]
    assert norms.count == 20 and len(norms.names) == 8
    assert norms.reason == "the compiler's validation refuses its LayerNorm (code 3110)"
    assert {r.reason for r in report.refusals} - {norms.reason} == {
        "it goes with its LayerNormalization"
    }


@qualcomm
def test_older_npus_refuse_floats(plain: Path) -> None:
    """Newer ones compute them in 16 bits."""
    old = report_on(plain, "htp", soc="SM8350")
    assert not old.accepted and old.delegated is False and not old.placements
    assert "Failed to finalize QNN graph" in old.errors[0]
    assert report_on(plain, "htp", soc="SM8650").delegated


@qualcomm
@pytest.mark.campaign
def test_older_npus_refuse_parts_in_float(plain: Path, images: np.ndarray) -> None:
    islands = quantized(plain, images, "islands", **symmetric())
    assert not report_on(islands, "htp", soc="SM8350").accepted
    assert report_on(islands, "htp", soc="SM8650").delegated


@qualcomm
def test_some_socs_refuse_norms(plain: Path, images: np.ndarray) -> None:
    path = quantized(plain, images, "whole", **all_8_bit(plain, gammas="unsigned"))
    report = report_on(path, "htp", soc="QCM6490")
    assert report.delegated is False
    (reason,) = {r.reason for r in report.refusals if r.operator == "ReduceL2"}
    assert reason == "the compiler's validation refuses its ElementWiseMultiply (code 3110)"
