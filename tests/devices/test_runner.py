"""The runner that is pushed to devices, run as on a device: by itself, in its own folder."""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgenext.devices.runners.runner
from edgenext import api
from edgenext.devices.job import DeviceJob, JobImages
from edgenext.devices.protocol import RunnerRecord, parse_line, record_events
from edgenext.devices.runners.python_runner import job_artifact, pack
from edgenext.formats.artifact import Artifact, companion_path
from edgenext.formats.runtimes import open_session
from edgenext.formats.session import logits
from edgenext.options import ExportOptions, ModelOptions, QuantizeOptions
from edgenext.system.files import sha256_file

RUNNER = Path(edgenext.devices.runners.runner.__file__).parent
MODEL = ModelOptions(random_weights=True, num_classes=10, size=32)
N = 11


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> list[Artifact]:
    """One file for each kind of input: planar floats in fixed batches, and pixels in any batch."""
    out = tmp_path_factory.mktemp("files")
    variants = (ExportOptions(batch=2), ExportOptions(uint8_input=True, batch=None))
    return [
        api.export("edgenext_xx_small", MODEL, options, out=out / str(i))
        for i, options in enumerate(variants)
    ]


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (N, 32, 32, 3), np.uint8)


class PreparedJob:
    """A job in a folder, with its files beside it."""

    def __init__(self, folder: Path, files: list[Artifact], images: np.ndarray, **more: Any):
        self.folder, self.store = folder / "job", folder / "store"
        self.folder.mkdir()
        self.store.mkdir()
        for path in (p for file in files for p in (file.path, companion_path(file.path)) if p):
            shutil.copy(path, self.store / sha256_file(path))
        digest = hashlib.sha256(images.tobytes()).hexdigest()
        (self.store / digest).write_bytes(images.tobytes())
        settings = {"rounds": 2, "min_warmup": 1, "max_warmup": 10, "burst_ms": 1.0} | more
        job = DeviceJob(
            job="0123",
            artifacts=tuple(job_artifact(file, file.name, "cpu") for file in files),
            images=JobImages(file=digest, sha256=digest, shape=images.shape),
            mean=files[0].manifest.eval.mean,
            std=files[0].manifest.eval.std,
            **settings,
        )
        (folder / "job.json").write_text(job.model_dump_json())
        self.path = folder / "job.json"

    def run(self) -> subprocess.CompletedProcess[str]:
        runner = pack(self.store / "runner")
        command = [sys.executable, "-I", str(runner), str(self.path), str(self.store)]
        return subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, timeout=120, check=False
        )

    @property
    def record(self) -> RunnerRecord:
        lines = (self.folder / "results.jsonl").read_text().splitlines()
        return record_events(parse_line(line) for line in lines)

    def logits(self, file: Artifact) -> np.ndarray:
        path = self.folder / f"logits-{file.manifest.sha256}.f32"
        return np.fromfile(path, "<f4").reshape(-1, 10)


@pytest.mark.parametrize("module", sorted(p.name for p in RUNNER.glob("*.py")))
def test_it_is_for_old_pythons_and_stands_alone(module: str) -> None:
    tree = ast.parse((RUNNER / module).read_text(), feature_version=(3, 6))
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    froms = [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    imported |= {n.module for n in froms if n.module and not n.level}
    foreign = {"numpy", "onnxruntime", "ai_edge_litert", "tflite_runtime", "openvino"}
    assert imported <= sys.stdlib_module_names | foreign
    assert all((RUNNER / f"{n.module}.py").is_file() for n in froms if n.level)


def test_it_is_one_file_and_the_same_each_time(tmp_path: Path) -> None:
    one, two = (pack(tmp_path / name).read_bytes() for name in ("one", "two"))
    assert one == two


def test_it_measures_and_computes_the_same_logits_as_here(
    tmp_path: Path, artifacts: list[Artifact], images: np.ndarray
) -> None:
    job = PreparedJob(tmp_path, artifacts, images, repeat_base=True)
    done = job.run()
    assert (done.returncode, done.stderr) == (0, "")
    record = job.record
    lines = (job.folder / "results.jsonl").read_text().splitlines()
    turns = [e for e in map(json.loads, lines) if e["event"] == "round"]
    one, two = (f.manifest.sha256 for f in artifacts)
    assert [e["artifact"] for e in turns] == [one, two, one] * 2, "the base takes two turns"
    assert [bool(e.get("second")) for e in turns] == [False, False, True] * 2
    assert record.second and len(record.second.rounds) == 2
    assert record.done and record.conditions and record.environment.packages["onnxruntime"]
    for file, batch in zip(artifacts, (2, 1), strict=True):
        measurements = record.artifacts[file.manifest.sha256]
        assert (
            measurements.ready
            and measurements.ready.ready.batch == batch
            and len(measurements.rounds) == 2
        )
        assert (
            measurements.peak_rss_mb
            and measurements.peak_rss_mb > 0
            and len(measurements.at_s) == 2
        )
        expected = np.concatenate(list(logits(open_session(file), images)))
        np.testing.assert_allclose(job.logits(file), expected, atol=1e-5)


def test_openvino_runs_its_own_files_in_their_precision(tmp_path: Path, images: np.ndarray) -> None:
    pytest.importorskip("openvino", reason="no openvino (pip install 'edgenext[openvino]')")
    target, options = "cpu-openvino", QuantizeOptions(target="cpu-openvino", calib="digits", n=8)
    files = [
        api.export("edgenext_xx_small", MODEL, ExportOptions(format="openvino"), out=tmp_path),
        api.quantize("edgenext_xx_small", options, MODEL, out=tmp_path),
        api.quantize("edgenext_xx_small", QuantizeOptions("bf16", target), MODEL, out=tmp_path),
    ]
    job = PreparedJob(tmp_path, files, images)
    done = job.run()
    assert (done.returncode, done.stderr) == (0, "")
    for file in files:
        ready = job.record.artifacts[file.manifest.sha256].ready
        assert ready and ready.ready.runtime == "openvino"
        session = open_session(file)
        told = (ready.ready.precision_asked, ready.ready.precision)
        assert told == (session.precision_asked, session.precision)
        assert ready.ready.precision_emulated == session.precision_emulated
        np.testing.assert_array_equal(
            job.logits(file), np.concatenate(list(logits(session, images)))
        )


@pytest.mark.parametrize("length", [0, 1, 40 * 4, 40 * 5 + 7, 40 * N])
def test_it_computes_only_the_missing_logits(
    tmp_path: Path, artifacts: list[Artifact], images: np.ndarray, length: int
) -> None:
    job = PreparedJob(tmp_path, artifacts[:1], images)
    assert job.run().returncode == 0
    path = job.folder / f"logits-{artifacts[0].manifest.sha256}.f32"
    complete = path.read_bytes()
    results = job.folder / "results.jsonl"
    lines = results.read_text().splitlines()
    results.write_text("".join(f"{line}\n" for line in lines if '"done"' not in line))
    # existing logits are not computed again: a mark in them stays
    mark = b"\x01\x02\x03\x04" if length >= 40 else b""
    path.write_bytes(mark + complete[len(mark) : length])
    assert job.run().returncode == 0
    assert path.read_bytes() == mark + complete[len(mark) :]
    events = [json.loads(line) for line in results.read_text().splitlines()]
    assert sum(e["event"] == "ready" for e in events) == 1, "latency is not measured again"
    assert job.record.done


def test_sensors_are_read_while_nothing_and_while_each_runs(
    tmp_path: Path, artifacts: list[Artifact], images: np.ndarray
) -> None:
    script = "while true; do echo reading; sleep 0.05; done"
    job = PreparedJob(tmp_path, artifacts[:1], images, sensor=("sh", "-c", script), sensor_s=0.5)
    assert job.run().returncode == 0
    rows = [json.loads(line) for line in (job.folder / "sensors.jsonl").read_text().splitlines()]
    sha256 = artifacts[0].manifest.sha256
    assert {"idle", f"load {sha256}"} <= {row["during"] for row in rows}
    load = job.record.artifacts[sha256].load
    assert load and load.inferences > 0 and load.seconds >= 0.5


def test_a_broken_file_is_an_error_in_one_line(
    tmp_path: Path, artifacts: list[Artifact], images: np.ndarray
) -> None:
    job = PreparedJob(tmp_path, artifacts[:1], images)
    (job.store / artifacts[0].manifest.sha256).write_bytes(b"no model")
    done = job.run()
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"{artifacts[0].name}: ")
    assert job.record.errors and not job.record.done
