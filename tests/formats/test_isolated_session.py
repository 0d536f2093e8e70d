"""Files that crash their runtime: one line that names the file and the signal, wherever it runs."""

from __future__ import annotations

import gc
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from tiny_artifacts import tiny_artifact

from edgenext import api
from edgenext.commands.subject import Subject
from edgenext.errors import RuntimeCrashedError, RuntimeFailedError
from edgenext.formats.artifact import Artifact, open_artifact
from edgenext.formats.isolated_session import IsolatedSession, SessionProcess, open_isolated
from edgenext.formats.runtimes import open_session
from edgenext.formats.session import Traceable, logits
from edgenext.options import BenchOptions, DataOptions, QuantizeOptions

DATA = DataOptions("digits", limit=20)
CALLS: dict[str, Callable[[str], object]] = {
    "eval": lambda file: api.evaluate([file], DATA),
    "compare": lambda file: api.compare(file, [file], DATA),
    "diff": lambda file: api.diff(file, file, DataOptions("digits", limit=8)),
    "quantize": lambda file: api.quantize(file, QuantizeOptions(calib="digits", n=8)),
    "check": lambda file: api.check(Path(file)),
    "bench": lambda file: api.bench([Path(file)], bench_options=BenchOptions(rounds=1)),
}


CRASHING = """\
import ctypes


class SessionOptions:
    def add_session_config_entry(self, *_): ...


class InferenceSession:
    def __init__(self, *_, **__): ...

    def get_outputs(self):
        return []

    def run(self, *_):
        ctypes.string_at(0)
"""
"""An onnxruntime whose native code reads address 0 when a graph runs."""


@pytest.mark.parametrize("name", CALLS)
def test_a_crash_is_an_error_that_names_the_file_and_the_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """SIGSEGV in this process would end pytest: only processes of their own see this runtime."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "path").mkdir()
    (tmp_path / "path/onnxruntime.py").write_text(CRASHING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "path"))
    path = foreign(tmp_path, "crash").path
    with pytest.raises(RuntimeFailedError) as caught:
        CALLS[name](str(path))
    assert caught.value.exit_code == 9
    assert "crash" in caught.value.message and "was killed by SIGSEGV" in caught.value.message
    assert "\n" not in str(caught.value)


def foreign(folder: Path, name: str = "tiny") -> Artifact:
    """An artifact as another process would have written it."""
    artifact = tiny_artifact(folder, name)
    artifact.path.write_bytes(artifact.path.read_bytes().replace(b"tests", b"other"))
    from edgenext.formats.artifact import content_sha256, manifest_path

    sha256 = content_sha256(artifact.path)
    update = {"sha256": sha256, "sites": {"stem": "c0"}}
    manifest = artifact.manifest.model_copy(update=update)
    manifest_path(artifact.path).write_text(manifest.model_dump_json())
    return open_artifact(artifact.path)


def test_a_session_in_another_process_computes_the_same(tmp_path: Path) -> None:
    artifact = foreign(tmp_path)
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    start = time.monotonic()
    isolated, here = open_isolated(artifact, 1), open_session(artifact, 1)
    assert isinstance(isolated, IsolatedSession) and isinstance(isolated, Traceable)
    np.testing.assert_array_equal(
        np.concatenate(list(logits(isolated, images))), np.concatenate(list(logits(here, images)))
    )
    prepared = here.prepare(images)
    assert isinstance(here, Traceable)
    expected = here.trace(prepared)
    traced = isolated.trace(prepared)
    assert expected.keys() == traced.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(traced[name], value)
    assert time.monotonic() - start < 20
    same = ("runtime", "evidence", "batch", "fallback")
    assert [getattr(isolated, k) for k in same] == [getattr(here, k) for k in same]


def test_what_this_process_wrote_runs_here(tmp_path: Path) -> None:
    artifact = tiny_artifact(tmp_path, "own")
    assert not isinstance(Subject(artifact=artifact).session(), IsolatedSession)


def test_the_process_ends_with_its_session(tmp_path: Path) -> None:
    session = Subject(artifact=foreign(tmp_path)).session()
    assert isinstance(session, IsolatedSession)
    child = psutil.Process(session._process._process.pid)
    del session
    gc.collect()
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_an_error_of_the_runtime_keeps_its_words(tmp_path: Path) -> None:
    artifact = foreign(tmp_path)
    session = open_isolated(artifact, 1)
    with pytest.raises(RuntimeFailedError, match=r"onnxruntime cannot run tiny\.onnx") as caught:
        session.infer(np.zeros((1, 3, 5), np.float32))
    assert not isinstance(caught.value, RuntimeCrashedError)
    assert session.infer(np.zeros((1, 3, 32, 32), np.float32)).shape == (1, 10)


def test_a_process_that_hangs_or_is_killed_is_told(tmp_path: Path) -> None:
    process = SessionProcess(foreign(tmp_path), 1, "")
    process._process.send_signal(signal.SIGSTOP)
    process._deadline.timeout_s = 0.5
    with pytest.raises(RuntimeCrashedError, match=r"runs tiny\.onnx gave no answer for 0\.5 s"):
        process.request({"infer": True}, np.zeros((1, 3, 32, 32), np.float32))
    process = SessionProcess(foreign(tmp_path), 1, "")
    process._process.kill()
    with pytest.raises(RuntimeCrashedError, match="killed by SIGKILL"):
        process.request({"infer": True}, np.zeros((1, 3, 32, 32), np.float32))
