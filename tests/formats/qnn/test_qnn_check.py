"""Qualcomm's compiler on good and bad files, and the reasons in its log."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from vendored import changed, qualcomm, units

from edgenext import api
from edgenext.formats.artifact import Artifact, open_artifact
from edgenext.formats.check import check_artifact
from edgenext.formats.qnn.log import Reason, reasons
from edgenext.formats.qnn.socs import SOCS
from edgenext.options import ExportOptions, ModelOptions, QuantizeOptions

OPTIONS = ModelOptions(random_weights=True, num_classes=10, size=32)
XXS = "edgenext_xx_small"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checked")


@pytest.fixture(scope="module")
def plain(folder: Path) -> Artifact:
    return api.export(XXS, OPTIONS, out=folder)


@pytest.fixture(scope="module")
def int8(folder: Path) -> Artifact:
    """A file in 8 bits throughout, for the NPU."""
    options = QuantizeOptions(target="htp", calib="digits", n=8)
    return api.quantize(XXS, options, OPTIONS, out=folder)


@qualcomm
@pytest.mark.slow
@pytest.mark.parametrize(
    "soc",
    [
        soc if soc in ("SM8350", "QCM6490") else pytest.param(soc, marks=pytest.mark.campaign)
        for soc in SOCS
    ],
)
def test_every_soc_is_known_to_the_compiler(int8: Artifact, soc: str) -> None:
    report = check_artifact(int8, soc=soc)
    assert report.accepted
    assert report.delegated == (soc != "QCM6490"), report.refusals
    assert report.notes[0] == f"asked for {soc}, {SOCS[soc].about}"


@qualcomm
def test_the_npu_runs_all_of_an_8_bit_file(int8: Artifact) -> None:
    report = check_artifact(int8)
    assert (report.target, report.unit, report.evidence) == ("htp", "npu", "compiler")
    assert report.accepted and report.delegated and report.partitions == 1
    assert units(report) == {"npu": 682}
    assert "proven with the fallback to the CPU disabled" in report.notes


@qualcomm
def test_a_float_file_on_an_npu_without_floats(plain: Artifact) -> None:
    report = check_artifact(plain, "htp", soc="SM8350")
    assert not report.accepted and report.delegated is False
    assert report.errors[0].startswith("Failed to finalize QNN graph")


@qualcomm
def test_a_scale_for_each_gamma_is_left_to_the_cpu(int8: Artifact, tmp_path: Path) -> None:
    def split(model: onnx.ModelProto) -> None:
        constants = {t.name: t for t in model.graph.initializer}
        maker = {o: n for n in model.graph.node for o in n.output}
        norm = next(n for n in model.graph.node if n.op_type == "LayerNormalization")
        dequantize = maker[norm.input[1]]
        channels = constants[dequantize.input[0]].dims[0]
        for i in (1, 2):
            value = numpy_helper.to_array(constants[dequantize.input[i]])
            each = np.full(channels, value)
            model.graph.initializer.append(numpy_helper.from_array(each, f"each{i}"))
            dequantize.input[i] = f"each{i}"
        del dequantize.attribute[:]
        dequantize.attribute.append(helper.make_attribute("axis", 0))

    report = check_artifact(changed(int8, tmp_path / "it.onnx", split), "htp")
    assert report.accepted and report.delegated is False
    (refusal,) = report.refusals
    assert (refusal.operator, refusal.count) == ("DequantizeLinear", 1)
    assert (
        refusal.reason == "QNN EP does not support a standalone DQ op with per-channel quantization"
    )


@qualcomm
def test_a_file_compiled_for_another_soc(folder: Path) -> None:
    options = ExportOptions(format="qnn-context", format_options={"soc": "SM8550"})
    quantizing = QuantizeOptions(target="htp", calib="digits", n=8)
    compiled = api.quantize(XXS, quantizing, OPTIONS, options, out=folder)
    own = check_artifact(open_artifact(compiled.path))
    assert own.accepted and own.delegated and own.notes[0] == "asked for SM8550, Snapdragon 8 Gen 2"
    other = check_artifact(compiled, soc="SM8650")
    assert not other.accepted and other.errors == ("compiled for SM8550, not for SM8650",)


LOG = """\
2026 [V:onnxruntime] QNN node builder is trying to add node. Onnx node name: [a]
2026 [W:onnxruntime] QNN.backendValidateOpConfig() failed for node `a` of type `LayerNorm` \
with error code 3110
2026 [V:onnxruntime] Validation FAILED for 2 nodes in OrtNodeUnit (LayerNormalization) :
\tOperator type: DequantizeLinear Node name: b c Node index: 1
\tOperator type: LayerNormalization Node name: a Node index: 2
\tREASON : Failed to add node.
2026 [V:onnxruntime] QNN node builder is trying to add node. Onnx node name: [d]
2026 [V:onnxruntime] Validation FAILED for 1 nodes in OrtNodeUnit (QuantizeLinear) :
\tOperator type: QuantizeLinear Node name: d Node index: 3
\tREASON : It is not taken.
2026 [V:onnxruntime] Validation PASSED for 1 nodes in OrtNodeUnit (Conv) :
\tOperator type: Conv Node name: e Node index: 4
\tREASON : a lie
2026 [V:onnxruntime] Validation FAILED for 1 nodes in OrtNodeUnit (Erf) :
\tOperator type: Erf Node name: f Node index: 5
\tREASON : Operators of type `Erf` are not supported.Erf node `f` will not be assigned to QNN EP
"""


def test_reasons_of_the_backend() -> None:
    refused = Reason(
        "LayerNormalization", "the compiler's validation refuses its LayerNorm (code 3110)"
    )
    taken = Reason("QuantizeLinear", "It is not taken")
    unknown = Reason("Erf", "Operators of type `Erf` are not supported")
    assert reasons(LOG) == {"a": refused, "b c": refused, "d": taken, "f": unknown}
    assert reasons("") == {}
