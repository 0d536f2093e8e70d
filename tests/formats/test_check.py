"""Reports of vendors' compilers on good, bad and hostile files, and errors without them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from vendored import artifact_of, changed, nvidia, qualcomm, units

from edgenext import api
from edgenext.cli.check import show
from edgenext.errors import (
    ArtifactError,
    MissingDependencyError,
    RuntimeFailedError,
    UsageError,
)
from edgenext.formats.artifact import Artifact
from edgenext.formats.check import CHECKS, check_artifact
from edgenext.formats.placement import check_report, xnnpack_placement
from edgenext.formats.tensorrt.check import NO_INT8
from edgenext.options import ExportOptions, ModelOptions, QuantizeOptions
from edgenext.schema import CheckReport
from edgenext.targets.target import TARGETS

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


@pytest.fixture(scope="module")
def jetson(folder: Path) -> Artifact:
    return api.export(XXS, OPTIONS, ExportOptions(format="tensorrt"), out=folder)


@pytest.fixture(scope="module")
def package(folder: Path) -> Artifact:
    pytest.importorskip("coremltools", reason="no coremltools")
    return api.export(XXS, OPTIONS, ExportOptions(format="coreml"), out=folder)


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Replaces the interpreter that calls compilers by a shell script."""

    def put(script: str) -> None:
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr("edgenext.formats.placement.python_for", lambda *_: str(path))

    return put


def test_every_target_has_a_compiler() -> None:
    # onnxruntime-web has no compiler to ask: a browser runs every operator of it on the CPU
    assert {row.target for _, row in CHECKS} == set(TARGETS) - {"web"}


def test_a_target_refuses_a_format_that_is_not_its_own(plain: Artifact) -> None:
    with pytest.raises(ArtifactError, match=r"coreml takes coreml.*Make one with `edgenext export"):
        check_artifact(plain, "coreml")


def test_unknown_targets_and_options(plain: Artifact) -> None:
    with pytest.raises(UsageError, match=r"unknown target 'jetsin'. Did you mean jetson"):
        check_artifact(plain, "jetsin")
    with pytest.raises(UsageError, match=r"cpu-onnxruntime has no option soc. Leave it out"):
        check_artifact(plain, soc="SM8650")
    with pytest.raises(UsageError, match=r"jetson has no option soc. It has jetpack"):
        check_artifact(plain, "jetson", soc="SM8650")


def test_misspelt_names_get_suggestions(plain: Artifact) -> None:
    with pytest.raises(UsageError, match=r"unknown SoC 'SM8560'. Did you mean .*SM8650"):
        check_artifact(plain, "htp", soc="sm8560")
    with pytest.raises(UsageError, match=r"unknown JetPack generation '9'. Known: 4, 5, 6"):
        check_artifact(plain, "jetson", jetpack="9")


@pytest.mark.parametrize("target", ["htp", "jetson"])
def test_a_missing_package_names_its_extra(
    plain: Artifact, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgenext\[vendors\]'"):
        check_artifact(plain, target)


@pytest.mark.parametrize("target", ["htp", "jetson"])
def test_a_compiler_that_crashes_is_one_line(
    plain: Artifact, target: str, python: Callable[[str], None]
) -> None:
    python("echo here it went wrong; kill -11 $$")
    with pytest.raises(
        RuntimeFailedError, match=r"crashed on .*: killed by signal 11.*log is "
    ) as e:
        check_artifact(plain, target)
    assert "\n" not in str(e.value)


def test_onnxruntime_reports_integer_operators(folder: Path) -> None:
    artifact = api.quantize(XXS, QuantizeOptions(calib="digits", n=8), OPTIONS, out=folder)
    report = check_artifact(artifact)
    assert report.accepted and report.delegated and report.evidence == "host"
    (cpu,) = report.placements
    assert cpu.operators["QLinearConv"] > 40 and cpu.operators["LayerNormalization"] == 20
    (note,) = report.notes
    assert note.startswith("73 operators on integers")


def test_a_file_without_a_graph_is_not_accepted(tmp_path: Path) -> None:
    report = check_artifact(artifact_of(b"\x08\x08 no graph", tmp_path / "it.onnx"))
    assert not report.accepted and report.delegated is False and not report.placements
    assert "onnxruntime cannot load it.onnx" in report.errors[0]


def test_openvino_reports_8_bit_primitives(plain: Artifact) -> None:
    pytest.importorskip("openvino", reason="no OpenVINO")
    report = check_artifact(plain, "cpu-openvino")
    (cpu,) = report.placements
    assert report.accepted and cpu.operators["Convolution f32"] == 49
    assert report.notes == (f"0 of {cpu.total} primitives compute in 8 bits",)


@pytest.mark.slow
def test_without_macos_the_units_are_unknown(package: Artifact) -> None:
    report = check_artifact(package)
    assert (report.accepted, report.delegated, report.evidence) == (True, None, "emulated")
    (unknown,) = report.placements
    assert unknown.unit == "not told" and unknown.operators["conv"] == 49
    assert "no Mac here" in report.notes[0]


def xnnpack_report(artifact: Artifact, delegated: int, others: int, accepted: bool = True) -> Any:
    remaining = {"GELU": others} if others else {}
    fields = xnnpack_placement("builtin kernels", {"CONV_2D": delegated}, remaining, 1)
    fields |= {"compiler": "LiteRT", "version": "2", "accepted": accepted}
    return check_report(artifact, "tflite", unit="xnnpack", evidence="host", **fields)


def test_kernels_of_the_same_cpu_are_no_other_unit(
    plain: Artifact, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed, whole = xnnpack_report(plain, 100, 12), xnnpack_report(plain, 100, 0)
    assert (mixed.passed, mixed.delegated, mixed.others) == (True, False, 12)
    assert (whole.passed, whole.delegated, whole.beside) == (True, True, "")
    assert not xnnpack_report(plain, 100, 12, accepted=False).passed
    assert not mixed.model_copy(update={"beside": ""}).passed
    show(mixed)
    out = capsys.readouterr().out
    assert "accepted, all of it on the CPU: xnnpack runs all but 12 operators" in out
    assert "not on xnnpack: 12 GELU: XNNPACK leaves it to the builtin kernels, on the same" in out


class Fake:
    """An object with any attributes."""

    def __init__(self, **attributes: object) -> None:
        vars(self).update(attributes)


def plan_of(*rows: tuple[str, str | None, tuple[str, ...]]) -> object:
    """A fake of Core ML's plan, from operator, preferred and supported devices of each."""
    npu, gpu, cpu = (
        type(f"ML{name}ComputeDevice", (), {}) for name in ("NeuralEngine", "GPU", "CPU")
    )
    devices = {"npu": npu(), "gpu": gpu(), "cpu": cpu()}
    operations = [
        Fake(operator_name=name, outputs=[Fake(name=f"out{i}")])
        for i, (name, _, _) in enumerate(rows)
    ]
    usages = {
        id(operation): prefers
        and Fake(
            preferred_compute_device=devices[prefers],
            supported_compute_devices=[devices[name] for name in supported],
        )
        for (_, prefers, supported), operation in zip(rows, operations, strict=True)
    }
    main = Fake(block=Fake(operations=operations))
    return Fake(
        model_structure=Fake(program=Fake(functions={"main": main})),
        get_compute_device_usage_for_mlprogram_operation=lambda o: usages[id(o)],
    )


@pytest.mark.slow
def test_core_mls_compute_plan(package: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    from coremltools.models.compute_plan import MLComputePlan

    plan = plan_of(
        ("const", None, ()),
        ("ios17.conv", "npu", ("npu", "gpu", "cpu")),
        ("ios17.gelu", "gpu", ("npu", "gpu", "cpu")),
        ("softmax", "cpu", ("cpu",)),
    )
    monkeypatch.setattr(MLComputePlan, "load_from_path", lambda _: plan)
    monkeypatch.setattr("edgenext.formats.coreml.check.sys", Fake(platform="darwin"))
    monkeypatch.setattr(
        "edgenext.formats.coreml.check.device_model",
        lambda _: Fake(get_compiled_model_path=lambda: "it.mlmodelc"),
    )
    report = check_artifact(package)
    assert (report.accepted, report.delegated, report.evidence) == (True, False, "compiler")
    assert units(report) == {"npu": 1, "gpu": 1, "cpu": 1}
    assert {(r.operator, r.reason, r.names) for r in report.refusals} == {
        ("gelu", "Core ML prefers the gpu", ("out2",)),
        ("softmax", "the Neural Engine does not support it", ("out3",)),
    }


@pytest.mark.campaign
def test_executorch_names_the_operators_xnnpack_leaves(folder: Path) -> None:
    pytest.importorskip("executorch", reason="no ExecuTorch")
    artifact = api.export(XXS, OPTIONS, ExportOptions(format="executorch"), out=folder)
    report = check_artifact(artifact)
    assert report.accepted and report.delegated is False
    assert report.beside == "portable kernels" and report.passed and report.others == 65
    assert units(report) == {"xnnpack": report.partitions, "portable kernels": 65}
    assert {r.operator for r in report.refusals} > {"aten::mean"}


@nvidia
def test_nvidia_takes_files_for_jetson(jetson: Artifact) -> None:
    report = check_artifact(jetson)
    assert (report.target, report.unit, report.evidence) == ("jetson", "gpu", "compiler")
    assert report.accepted and report.delegated
    assert units(report) == {"gpu": len(onnx.load(jetson.path).graph.node)}
    assert "fits JetPack 6, by NVIDIA's lists of opsets and operators" in report.notes
    assert any("none for a Jetson" in note for note in report.notes)
    assert NO_INT8 not in report.notes


@nvidia
def test_an_older_jetpack_refuses_by_its_lists(jetson: Artifact) -> None:
    report = check_artifact(jetson, jetpack="4.6")
    assert not report.accepted and not report.errors
    reasons_by_operator = {r.operator: r.reason for r in report.refusals}
    assert reasons_by_operator["opset"] == "TensorRT 8.2 takes opset 13 at most, not 17"
    assert reasons_by_operator["LayerNormalization"] == "TensorRT 8.2 has no such operator"


@nvidia
def test_nvidia_refuses_zero_points(int8: Artifact) -> None:
    report = check_artifact(int8, "jetson")
    assert not report.accepted
    (refusal,) = report.refusals
    assert refusal.operator == "QuantizeLinear"
    assert "Non-zero zero point is not supported" in refusal.reason


@nvidia
@qualcomm
@pytest.mark.parametrize("target", ["htp", "jetson"])
def test_a_truncated_graph_is_not_accepted(plain: Artifact, tmp_path: Path, target: str) -> None:
    half = plain.path.read_bytes()[: plain.manifest.size_bytes // 2]
    report = check_artifact(artifact_of(half, tmp_path / "half.onnx"), target)
    assert not report.accepted and report.errors and not report.placements


def test_a_file_truncated_after_export_is_not_checked(plain: Artifact, tmp_path: Path) -> None:
    artifact = artifact_of(onnx.load(plain.path), tmp_path / "it.onnx")
    artifact.path.write_bytes(artifact.path.read_bytes()[:-100])
    with pytest.raises(ArtifactError, match="changed or truncated"):
        api.check(artifact.path)


@nvidia
def test_hostile_names_are_data(plain: Artifact, tmp_path: Path) -> None:
    name = "[red]x\n\tREASON : none\x1b[31m'\";$(touch pwned)"

    def rename(model: onnx.ModelProto) -> None:
        gelu = next(n for n in model.graph.node if n.op_type == "Gelu")
        gelu.name, gelu.op_type = name, "Bernoulli"

    report = check_artifact(changed(plain, tmp_path / "it.onnx", rename), "jetson")
    (refusal,) = report.refusals
    assert refusal.names == (name,)
    assert not list(tmp_path.glob("**/pwned"))
    assert CheckReport.model_validate_json(report.model_dump_json()) == report
