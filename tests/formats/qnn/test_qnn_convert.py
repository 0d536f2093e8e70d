"""Contexts compiled for one SoC: their content, reproducible bytes, refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from conversions import SharedConversions
from vendored import qualcomm

from edgenext import api
from edgenext.errors import MissingDependencyError, RefusedError, UsageError
from edgenext.formats.artifact import Artifact, open_artifact
from edgenext.formats.qnn.convert import convert
from edgenext.formats.qnn.session import CONTEXT, compiled_for, inspect
from edgenext.options import ExportOptions, ModelOptions, QuantizeOptions

OPTIONS = ModelOptions(random_weights=True, num_classes=10, size=32)
XXS = "edgenext_xx_small"
CONTEXT_OPTIONS = ExportOptions(format="qnn-context")
INT8 = QuantizeOptions(target="htp", calib="digits", n=8)


def quantized(folder: Path, soc: str = "", scheme: str = "w8a8-static") -> Artifact:
    options = replace(CONTEXT_OPTIONS, format_options={"soc": soc} if soc else {})
    calib = "" if scheme == "fp16" else "digits"
    quantization = replace(INT8, scheme=scheme, calib=calib)
    return api.quantize(XXS, quantization, OPTIONS, options, out=folder)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory, conversions: SharedConversions) -> Artifact:
    with conversions.fresh():  # a copy of a first file would count as a second conversion
        return quantized(tmp_path_factory.mktemp("context"))


@qualcomm
def test_a_file_has_one_context_and_names_its_soc(context: Artifact) -> None:
    (node,) = onnx.load(context.path).graph.node
    assert node.op_type == CONTEXT and compiled_for(context.path) == "SM8650"
    inspection = inspect(context.path)
    assert (inspection.input.name, inspection.input.shape) == ("input", (1, 3, 32, 32))
    assert [o.shape for o in inspection.outputs] == [(1, 10)] and inspection.partitions == 1


@qualcomm
def test_the_manifest(context: Artifact) -> None:
    m = open_artifact(context.path).manifest
    assert (m.format, m.target, m.scheme) == ("qnn-context", "htp", "w8a8-static")
    assert m.parity is not None and m.parity.sqnr_db > 23  # 27.5 measured
    assert m.conversion is not None and m.conversion.notes == ("compiled for SM8650",)
    assert m.conversion.converter.startswith("onnxruntime-qnn ")
    assert context.path.name == "edgenext_xx_small-32-qnn-context-w8a8-static.onnx"


@qualcomm
@pytest.mark.slow
def test_it_is_made_again_from_its_manifest(
    context: Artifact, conversions: SharedConversions
) -> None:
    with conversions.fresh():
        report = api.verify(context.path, calib="digits", rebuild=True)
    assert report.rebuild is not None and report.rebuild.same, report.rebuild


@qualcomm
@pytest.mark.slow
@pytest.mark.parametrize(
    "scheme", ["w8a16-static", pytest.param("fp16", marks=pytest.mark.campaign)]
)
def test_other_socs_and_schemes(context: Artifact, tmp_path: Path, scheme: str) -> None:
    other = quantized(tmp_path, "sm8750", scheme)
    assert other.path.name == f"edgenext_xx_small-32-qnn-context-SM8750-{scheme}.onnx"
    assert compiled_for(other.path) == "SM8750"
    assert other.manifest.sha256 != context.manifest.sha256


def test_fp32_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the NPU computes floats in float16"):
        api.export(XXS, OPTIONS, CONTEXT_OPTIONS, out=tmp_path)
    dynamic = replace(INT8, scheme="w8a8-dynamic")
    with pytest.raises(UsageError, match="the NPU supports fixed scales only"):
        api.quantize(XXS, dynamic, OPTIONS, CONTEXT_OPTIONS, out=tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_unknown_soc_is_refused_with_suggestions(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown SoC 'SM8560'. Did you mean .*SM8650"):
        quantized(tmp_path, "SM8560")


@qualcomm
def test_an_soc_that_refuses_the_graph(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="the NPU of QCM6490 does not take the graph"):
        quantized(tmp_path, "QCM6490")
    assert not list(tmp_path.iterdir())


@qualcomm
def test_a_float_graph_for_an_npu_without_floats(tmp_path: Path) -> None:
    graph = api.export(XXS, OPTIONS, out=tmp_path).path
    job = {"graph": str(graph), "out": str(tmp_path / "it.onnx"), "soc": "SM8350"}
    with pytest.raises(RefusedError, match="Failed to finalize QNN graph"):
        convert(job)
    assert not (tmp_path / "it.onnx").exists()


def test_a_missing_package_is_reported_before_the_conversion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime_qnn", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgenext\[vendors\]'"):
        quantized(tmp_path)
