"""The simulated NPU as a runtime: selected by target, marked as a simulator, never timed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from vendored import artifact_of, qualcomm

from edgenext import api
from edgenext.errors import ArtifactError, MissingDependencyError, RuntimeFailedError, UsageError
from edgenext.formats.artifact import Artifact
from edgenext.formats.qnn.session import HtpSession, error_message, inspect
from edgenext.formats.runtimes import open_session
from edgenext.metrics.fidelity import fidelity
from edgenext.options import DataOptions, ExportOptions, ModelOptions, QuantizeOptions

OPTIONS = ModelOptions(random_weights=True, num_classes=10, size=32)
XXS = "edgenext_xx_small"
DIGITS = DataOptions("digits", limit=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("htp")


@pytest.fixture(scope="module")
def plain(folder: Path) -> Artifact:
    return api.export(XXS, OPTIONS, out=folder)


@pytest.fixture(scope="module")
def artifact(folder: Path) -> Artifact:
    options = QuantizeOptions(target="htp", calib="digits", n=8)
    return api.quantize(XXS, options, OPTIONS, out=folder)


def images(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 32, 32, 3), np.uint8)


def logits(artifact: Artifact, target: str) -> np.ndarray:
    session = open_session(artifact, target=target)
    return np.concatenate([session.infer(session.prepare(x[None])) for x in images(3)])


@qualcomm
def test_it_computes_the_same_as_the_cpu(artifact: Artifact) -> None:
    npu, cpu = (logits(artifact, target) for target in ("htp", "cpu-onnxruntime"))
    assert npu.shape == cpu.shape == (3, 10)
    assert fidelity(cpu, npu).sqnr_db > 16  # 19.4 measured


@qualcomm
@pytest.mark.campaign
def test_int4_weights_are_computed_as_the_file_says(folder: Path) -> None:
    options = QuantizeOptions("w4a8-static", "htp", calib="digits", n=8)
    artifact = api.quantize(XXS, options, OPTIONS, out=folder)
    npu, cpu = (logits(artifact, target) for target in ("htp", "cpu-onnxruntime"))
    assert fidelity(cpu, npu).sqnr_db > 16  # as for int8 weights; on 16 digits 26.3 measured


@qualcomm
def test_two_sessions_in_one_process(artifact: Artifact) -> None:
    np.testing.assert_array_equal(logits(artifact, "htp"), logits(artifact, "htp"))


@qualcomm
def test_socs_differ_in_their_last_bits(artifact: Artifact) -> None:
    x = open_session(artifact).prepare(images(1))
    old, new = (
        HtpSession(artifact.path, artifact.manifest, soc).infer(x) for soc in ("SM8350", "SM8650")
    )
    assert not np.array_equal(old, new)
    assert fidelity(old, new).sqnr_db > 22  # 26.5 measured


def test_by_default_an_npus_file_runs_on_the_cpu(artifact: Artifact) -> None:
    session = open_session(artifact)
    assert (session.runtime, session.evidence) == ("onnxruntime", "host")


@pytest.mark.parametrize("target", ["jetson", "tflite", "ethos-u"])
def test_other_targets_have_no_runtime_for_it(artifact: Artifact, target: str) -> None:
    with pytest.raises(ArtifactError, match="Use --target cpu-onnxruntime or cpu-openvino or htp"):
        open_session(artifact, target=target)


@qualcomm
def test_results_are_marked_as_simulated(artifact: Artifact) -> None:
    (result,) = api.evaluate([str(artifact.path)], DIGITS, OPTIONS, target="htp").results
    assert (result.evidence, result.runtime, result.n) == ("simulator", "htp-simulator", 4)


@qualcomm
def test_a_base_is_compared_in_its_own_runtime(plain: Artifact, artifact: Artifact) -> None:
    report = api.compare(str(plain.path), [str(artifact.path)], DIGITS, OPTIONS, target="htp")
    (other,) = report.others
    assert other.evidence == "simulator" and other.sqnr_db > 19  # 22.9 measured


def test_an_unknown_target_is_refused(artifact: Artifact) -> None:
    with pytest.raises(UsageError, match="unknown target 'hpt'"):
        api.evaluate([str(artifact.path)], "digits", OPTIONS, target="hpt")


@qualcomm
def test_a_file_that_needs_the_cpu_is_refused(tmp_path: Path, artifact: Artifact) -> None:
    with pytest.raises(RuntimeFailedError, match=r"cannot take .*`edgenext check --target htp`"):
        HtpSession(artifact.path, artifact.manifest, "QCM6490")


@qualcomm
@pytest.mark.parametrize("keep", [0, 100, 50_000])
def test_truncated_files(tmp_path: Path, artifact: Artifact, keep: int) -> None:
    broken = artifact_of(artifact.path.read_bytes()[:keep], tmp_path / "it.onnx")
    with pytest.raises(RuntimeFailedError, match=r"it\.onnx"):
        open_session(broken, target="htp")


@qualcomm
def test_an_input_of_another_shape(artifact: Artifact) -> None:
    session = open_session(artifact, target="htp")
    with pytest.raises(RuntimeFailedError, match="the simulated NPU cannot run"):
        session.infer(np.zeros((1, 3, 16, 16), np.float32))


@qualcomm
def test_a_plain_graph_is_not_a_context(plain: Artifact) -> None:
    with pytest.raises(RuntimeFailedError, match="has no compiled context"):
        inspect(plain.path)


@qualcomm
@pytest.mark.slow
def test_a_simulator_is_not_timed(folder: Path) -> None:
    options = ExportOptions(format="qnn-context")
    quantization = QuantizeOptions(target="htp", calib="digits", n=8)
    compiled = api.quantize(XXS, quantization, OPTIONS, options, out=folder)
    with pytest.raises(UsageError, match="which is simulator: its latency is not that of a device"):
        api.bench([compiled.path])


def test_a_missing_package_names_its_extra(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime_qnn", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgenext\[vendors\]'"):
        open_session(artifact, target="htp")


def test_messages_of_onnxruntime_on_one_line() -> None:
    text = "[ONNXRuntimeError] : 11 : EP_FAIL : Failed to finalize: Code\n 1002."
    assert error_message(RuntimeError(text)) == "Failed to finalize: Code 1002"
    assert error_message(RuntimeError("as it : is")) == "as it : is"
