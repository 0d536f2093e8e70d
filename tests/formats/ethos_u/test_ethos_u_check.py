"""Vela's reports on files of this package, on others, and on damaged ones."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from integer_files import XXS, artifact_from, integer_file
from private import private_python
from vendored import artifact_of

from edgenext import api
from edgenext.errors import (
    ArtifactError,
    MissingDependencyError,
    RuntimeFailedError,
    UsageError,
)
from edgenext.formats import placement as asking
from edgenext.formats.artifact import Artifact, open_artifact
from edgenext.formats.check import check_artifact
from edgenext.formats.ethos_u import check as ethos_u
from edgenext.formats.ethos_u.check import ACCELERATORS, check
from edgenext.options import ExportOptions, ModelOptions
from edgenext.schema import CheckReport

vela = pytest.mark.skipif(find_spec("ethosu") is None, reason="ethos-u-vela is not installed")

OUTPUT = """\
Warning: No memory mode specified. Using a default of Shared_Sram.

Warning (supported operators) operator: SQRT, ofm: 'a;b(c)'
Reason: Operation has tensor with unsupported DataType Float32 (e.<locals>.F;1)
Feature-map dataTypes must be one of {"INT8"}

Warning (supported operators) operator: DEQUANTIZE, ofm: 'd'
Reason: Unsupported opType

CPU operators = 2 (50.0%)
   CPU: Passthrough = a;b(c) (outputs [1, 9])
   CPU: Passthrough = d (outputs [])
NPU operators = 2 (50.0%)
   NPU: Conv2D = x (outputs [1, 4, 4, 4])
   NPU: LUT = x (outputs [1, 4, 4, 4])
"""


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    pytest.importorskip("ai_edge_litert")
    return artifact_from(integer_file(tmp_path_factory.mktemp("ethos")).path)


def operators(report: CheckReport, unit: str) -> dict[str, int]:
    return next((p.operators for p in report.placements if p.unit == unit), {})


@vela
@pytest.mark.parametrize("config", ["ethos-u55-256", "ethos-u65-512", "ethos-u85-512"])
def test_the_npu_runs_every_operator(artifact: Artifact, config: str) -> None:
    report = check(artifact, config=config)
    assert report.accepted and report.delegated, report.refusals
    assert operators(report, "npu")["MatMul"] >= 6 and not operators(report, "cpu")
    assert operators(report, "npu")["Conv2D"] < 50  # one operator a layer, not one a place
    assert (report.unit, report.evidence, report.sha256) == (
        "npu",
        "compiler",
        artifact.manifest.sha256,
    )
    assert report.compiler == f"Vela for {config}" and not report.compiled
    assert {"inferences_per_second", "cycles", "sram_kib", "macs"} <= set(report.estimates)
    assert all(value > 0 for value in report.estimates.values())


@vela
def test_the_compiled_file_can_be_kept(artifact: Artifact, tmp_path: Path) -> None:
    report = check(artifact, out=tmp_path / "new")
    copy = Path(report.compiled)
    assert copy == tmp_path / "new" / f"{artifact.path.stem}_vela.tflite"
    assert b"ethos-u" in copy.read_bytes()
    assert [p.name for p in copy.parent.iterdir()] == [copy.name]


@vela
@pytest.mark.slow
def test_the_npu_runs_nothing_of_a_float_file(tmp_path: Path) -> None:
    private_python("tflite")
    options = ModelOptions(random_weights=True, num_classes=10, size=32)
    plain = api.export(XXS, options, ExportOptions(format="tflite"), out=tmp_path)
    report = check(plain)
    assert report.accepted and report.delegated is False
    assert not operators(report, "npu")
    refused = {r.operator: r for r in report.refusals}
    assert {"SQRT", "DIV", "CONV_2D", "GELU"} <= set(refused)
    assert refused["SQRT"].reason == "Unsupported opType"
    assert "unsupported DataType Float32" in refused["CONV_2D"].reason
    assert sum(r.count for r in report.refusals) == report.placements[0].total
    assert "inferences_per_second" not in report.estimates
    assert ethos_u.PARTIAL in report.notes


@vela
@pytest.mark.parametrize("keep", [0, 100, 20_000])
def test_truncated_files(artifact: Artifact, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "broken.tflite"
    path.write_bytes(artifact.path.read_bytes()[:keep])
    with pytest.raises(ArtifactError, match=r"it-broken\.tflite is not a complete TFLite file"):
        check(artifact_from(path))


@vela
def test_a_crash_is_one_line(
    artifact: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGENEXT_CACHE", str(tmp_path))
    monkeypatch.setattr(asking, "python_for", lambda *_: "/bin/false")
    with pytest.raises(RuntimeFailedError, match="Vela crashed on it-edgenext_xx_small"):
        check(artifact)


@pytest.mark.parametrize(
    ("config", "suggestion"),
    [("ethos-u85-51", "ethos-u85-512"), ("ethos-u55-265", "ethos-u55-256")],
)
def test_an_unknown_accelerator(tmp_path: Path, config: str, suggestion: str) -> None:
    other = artifact_of(b"it", tmp_path / "it.tflite", file_format="tflite")
    with pytest.raises(UsageError, match=suggestion):
        check(other, config=config)


def test_another_format(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"ethos-u takes tflite, and it\.onnx is onnx"):
        check_artifact(artifact_of(b"it", tmp_path / "it.onnx"), "ethos-u")


def test_without_vela(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    other = artifact_of(b"it", tmp_path / "it.tflite", file_format="tflite")
    with pytest.raises(MissingDependencyError, match=r"edgenext\[vendors\]"):
        check(other)


def test_the_listing_is_read() -> None:
    fields = ethos_u._placement(OUTPUT)
    units = {p.unit: p.operators for p in fields["placements"]}
    assert units == {"npu": {"Conv2D": 1, "LUT": 1}, "cpu": {"SQRT": 1, "DEQUANTIZE": 1}}
    reasons = {r.operator: (r.reason, r.names) for r in fields["refusals"]}
    assert reasons["SQRT"] == (
        "Operation has tensor with unsupported DataType Float32; "
        'Feature-map dataTypes must be one of {"INT8"}',
        ("a;b(c)",),
    )
    assert reasons["DEQUANTIZE"][0] == "Unsupported opType"
    assert not fields["delegated"]


def test_an_inconsistent_listing_is_refused() -> None:
    for text in ("", OUTPUT.replace("CPU operators = 2", "CPU operators = 3")):
        with pytest.raises(RuntimeFailedError, match="cannot be read"):
            ethos_u._placement(text)


@vela
def test_accelerators_are_velas() -> None:
    from ethosu.vela.architecture_features import Accelerator

    assert set(ACCELERATORS) == set(Accelerator.member_list())


@vela
def test_the_target_of_a_file_selects_the_compiler(artifact: Artifact) -> None:
    assert check_artifact(open_artifact(artifact.path)).delegated
