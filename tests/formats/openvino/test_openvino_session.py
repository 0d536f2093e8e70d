"""OpenVINO runs ONNX artifacts exported for it, and agrees with onnxruntime."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from cpu import BF16
from golden import weights as golden

from edgenext.benchmark.executor import WorkerProcess
from edgenext.benchmark.worker import WorkerJob
from edgenext.errors import MissingDependencyError, RuntimeFailedError
from edgenext.export.onnx import onnx_graph, tensor_spec
from edgenext.formats.artifact import Artifact, save_artifact
from edgenext.formats.onnx.session import OnnxSession
from edgenext.formats.openvino import session as openvino
from edgenext.formats.openvino.session import OpenVinoSession
from edgenext.formats.runtimes import runtime_of
from edgenext.formats.session import Session, logits
from edgenext.metrics.fidelity import fidelity
from edgenext.models import zoo
from edgenext.schema import EvalTransform
from edgenext.system.cpu import cpuinfo, multiplies_bf16

TRANSFORM = EvalTransform(size=64, crop_pct=1.0)
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)

installed = pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")


@cache
def float_graph(arch: str, form: str, batch: int | None, pixels: bool) -> onnx.ModelProto:
    net = zoo.create_model(arch)
    net.load_state_dict(golden.state(arch))
    preprocess = TRANSFORM if pixels else None
    return onnx_graph(net.eval(), form, (64, 64), batch=batch, pixels=preprocess)


def artifact(
    folder: Path,
    arch: str = "edgenext_xx_small",
    *,
    form: str = "convC",
    batch: int | None = 1,
    pixels: bool = False,
    scheme: str = "fp32",
) -> Artifact:
    model = float_graph(arch, form, batch, pixels)
    about = {
        "format": "onnx",
        "scheme": scheme,
        "form": form,
        "target": "cpu-openvino",
        "arch": arch,
        "num_classes": 1000,
        "eval": TRANSFORM,
        "input": tensor_spec(model.graph.input[0]),
        "outputs": tuple(tensor_spec(o) for o in model.graph.output),
        "opset": 20,
        "source": {},
        "tools": {},
    }
    return save_artifact(folder / "it.onnx", model.SerializeToString(), about)


def open_openvino(file: Artifact, threads: int = 1) -> Session:
    opened: Session = runtime_of(file.manifest).open_session(file, threads)
    assert isinstance(opened, OpenVinoSession)
    assert (opened.runtime, opened.evidence) == ("openvino", "host")
    return opened


def all_logits(session: Session) -> np.ndarray:
    return np.concatenate(list(logits(session, IMAGES, batch=2)))


def sqnr(file: Artifact) -> float:
    expected = all_logits(OnnxSession(str(file.path), file.manifest, 1))
    return fidelity(expected, all_logits(open_openvino(file))).sqnr_db


@installed
@pytest.mark.parametrize(
    ("arch", "form"),
    [
        ("edgenext_xx_small", "naive"),
        ("edgenext_xx_small", "convC"),
        ("edgenext_xx_small_bn_hs", "convC"),
        pytest.param("edgenext_xx_small", "convT", marks=pytest.mark.campaign),
        pytest.param("edgenext_xx_small_bn_hs", "naive", marks=pytest.mark.campaign),
        pytest.param("edgenext_xx_small_bn_hs", "convT", marks=pytest.mark.campaign),
    ],
)
def test_it_agrees_with_onnxruntime(tmp_path: Path, arch: str, form: str) -> None:
    assert sqnr(artifact(tmp_path, arch, form=form)) > 100


@installed
@pytest.mark.parametrize(("batch", "pixels"), [(None, False), (2, True), (None, True)])
def test_batches_and_pixels(tmp_path: Path, batch: int | None, pixels: bool) -> None:
    file = artifact(tmp_path, batch=batch, pixels=pixels)
    assert open_openvino(file).batch == batch
    assert sqnr(file) > 100


@installed
def test_bfloat16_is_close_or_reported_as_a_fallback(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = artifact(tmp_path, scheme="bf16")
    session = open_openvino(file)
    native = multiplies_bf16(cpuinfo())
    assert session.precision_asked == "bf16"
    assert session.precision == ("bf16" if BF16 else "f32")
    if BF16:
        assert 25 < sqnr(file) < 60
    else:
        assert sqnr(file) > 100
    if native:
        assert (session.fallback, session.precision_emulated, caplog.text) == ("", False, "")
    else:
        assert session.precision_emulated is BF16
        computed = "by emulation" if BF16 else "as f32"
        expected = f"bf16 was computed {computed} (this CPU has no bf16 instructions)"
        assert session.fallback == expected
        assert expected in caplog.text
    plain = open_openvino(artifact(tmp_path, form="naive"))
    assert (plain.precision_asked, plain.precision, plain.fallback) == ("f32", "f32", "")


@pytest.mark.parametrize(
    ("requested", "actual", "has_bf16", "fallback"),
    [
        ("bf16", "bf16", True, ""),
        ("bf16", "bf16", None, ""),
        ("bf16", "bf16", False, "bf16 was computed by emulation (this CPU has no bf16 instruc"),
        ("bf16", "f32", False, "bf16 was computed as f32 (this CPU has no bf16 instructions)"),
        ("bf16", "f32", None, "bf16 was computed as f32 (OpenVINO chose that for this CPU)"),
        ("bf16", "f16", True, "bf16 was computed as f16 (OpenVINO chose that for this CPU)"),
        ("f32", "f32", False, ""),
        ("f32", "f16", True, "f32 was computed as f16 (OpenVINO chose that for this CPU)"),
    ],
)
def test_what_computed_a_precision_is_told(
    requested: str, actual: str, has_bf16: bool | None, fallback: str
) -> None:
    told = openvino.precision_fallback(requested, actual, has_bf16)
    assert told.startswith(fallback) and bool(told) == bool(fallback)


def test_the_manifest_gives_the_precision_of_float_operators(tmp_path: Path) -> None:
    plain = artifact(tmp_path).manifest
    assert openvino.precision(plain) == "f32"
    assert openvino.precision(plain.model_copy(update={"scheme": "bf16"})) == "bf16"
    for rest, expected in (("bf16", "bf16"), ("fp32", "f32")):
        mixed = plain.model_copy(update={"scheme": "w8a8-static", "recipe": {"rest": rest}})
        assert openvino.precision(mixed) == expected


@installed
def test_logits_outlive_the_next_inference(tmp_path: Path) -> None:
    session = open_openvino(artifact(tmp_path))
    first = session.infer(session.prepare(IMAGES[:1]))
    before = first.copy()
    session.infer(session.prepare(IMAGES[1:2]))
    assert np.array_equal(first, before)
    assert first.dtype == np.float32


@installed
def test_bad_files_and_inputs(tmp_path: Path) -> None:
    file = artifact(tmp_path)
    session = open_openvino(file)
    with pytest.raises(RuntimeFailedError, match=r"OpenVINO cannot run it\.onnx"):
        session.infer(np.zeros((1, 3, 32, 64), np.float32))
    file.path.write_bytes(b"\x08\x09 not a model")
    with pytest.raises(RuntimeFailedError, match=r"OpenVINO cannot load it\.onnx"):
        open_openvino(file)


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'edgenext\[openvino\]'"):
        open_openvino(artifact(tmp_path))


@installed
def test_no_telemetry_is_sent() -> None:
    code = (
        "import sys; from edgenext.formats.openvino import session; session.preload(); "
        "print('openvino_telemetry' in sys.modules, 'multiprocessing.popen_fork' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    assert process.stdout.split() == ["False", "False"]


@installed
def test_a_worker_measures_it(tmp_path: Path) -> None:
    file = artifact(tmp_path)
    job = WorkerJob(str(file.path), file.manifest.model_dump(mode="json"), 1, 1, 0, (0,))
    with WorkerProcess("it", job) as worker:
        worker.start()
        assert worker.loaded.runtime == "openvino"
        peak = worker.peak_rss_mb()
    # Not the package's own 100 MiB: that was loaded before the artifact.
    assert 1 < peak < 90


@installed
def test_a_worker_passes_on_errors(tmp_path: Path) -> None:
    file = artifact(tmp_path)
    file.path.write_bytes(b"\x08\x09 not a model")
    job = WorkerJob(str(file.path), file.manifest.model_dump(mode="json"), 1, 1, 0, (0,))
    with (
        WorkerProcess("it", job) as worker,
        pytest.raises(RuntimeFailedError, match="OpenVINO cannot"),
    ):
        worker.start()


SIGNALLED = """
import gc, os, signal, sys
from edgenext.formats.openvino.session import compiled_model

signal.signal(signal.SIGUSR1, lambda *_: print("signalled"))
models = [compiled_model(sys.argv[1], threads=1) for _ in range(2)]
for _ in range(2):
    del models[0]
    gc.collect()
os.kill(os.getpid(), signal.SIGUSR1)
"""


@installed
def test_a_signal_after_two_sessions_is_handled(tmp_path: Path) -> None:
    """A CPU with AMX ends the process otherwise: see `core`."""
    path = artifact(tmp_path).path
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", SIGNALLED, str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "signalled\n"), done.stderr
