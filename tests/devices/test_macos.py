"""A job on this Mac, with a stand-in for Core ML, which runs on macOS only."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from devices.pooled_packages import CLASSES, SIDE, some_images

from edgenext.devices.bundles import macos
from edgenext.devices.bundles.macos import CoreMLModel, placement_of, run_job
from edgenext.devices.job import DeviceJob, JobArtifact
from edgenext.devices.protocol import record_events
from edgenext.devices.results import read_logits
from edgenext.errors import DeviceError, UsageError
from edgenext.formats.artifact import Artifact
from edgenext.formats.session import normalise
from edgenext.schema import EvalTransform, Manifest, TensorSpec

A, B = "a" * 64, "b" * 64


def job_of(*hashes: str, dtype: str = "float32", unit: str = "ane", **options: Any) -> DeviceJob:
    shape = (1, SIDE, SIDE, 3) if dtype == "uint8" else (1, 3, SIDE, SIDE)
    spec = TensorSpec.model_validate({"name": "x", "shape": shape, "dtype": dtype})
    transform = EvalTransform(size=SIDE)
    return DeviceJob(
        job="j",
        artifacts=tuple(
            JobArtifact(sha256=h, file=h, name=h[0], input=spec, output="logits", unit=unit)
            for h in hashes
        ),
        mean=transform.mean,
        std=transform.std,
        **options,
    )


def artifact_of(job_artifact: JobArtifact) -> Artifact:
    manifest = Manifest(
        file="it.mlpackage",
        format="coreml",
        scheme="fp32",
        form="ane",
        target="iphone",
        arch="edgenext_xx_small",
        num_classes=CLASSES,
        eval=EvalTransform(size=SIDE),
        input=job_artifact.input,
        outputs=(TensorSpec(name="logits", shape=(1, CLASSES), dtype="float32"),),
        sha256=job_artifact.sha256,
        size_bytes=1,
        source={},
        tools={},
    )
    return Artifact(Path("it.mlpackage"), manifest)


class FakeCoreML:
    """The part of coremltools that is used: class k is (k + 1) times the mean of the input."""

    def __init__(self, *, classifier: bool = False, broken: bool = False) -> None:
        self.classifier, self.broken, self.units = classifier, broken, ""
        self.ComputeUnit = SimpleNamespace(ALL="ALL", CPU_AND_NE="CPU_AND_NE", CPU_ONLY="CPU_ONLY")
        plans = SimpleNamespace(load_from_path=self.plan)
        self.models = SimpleNamespace(
            MLModel=self.load, compute_plan=SimpleNamespace(MLComputePlan=plans)
        )
        self.load_duration_in_nano_seconds = 7_000_000
        self.last_predict_duration_in_nano_seconds: int | None = 2_000_000
        self.feeds: list[Any] = []

    def load(self, _path: str, compute_units: str) -> FakeCoreML:
        if self.broken:
            raise RuntimeError("no\nsuch opset")
        self.compute_unit = compute_units
        return self

    def predict(self, feed: dict[str, Any]) -> dict[str, Any]:
        self.feeds.append(feed["x"])
        mean = np.asarray(feed["x"], np.float32).mean()
        values = [(k + 1) * mean for k in range(CLASSES)]
        if self.classifier:
            return {"classLabel": "0", "p": dict(zip("43210", np.exp(values[::-1]), strict=True))}
        return {"logits": np.asarray([values], np.float16)}

    def get_compiled_model_path(self) -> str:
        return "it.mlmodelc"

    def plan(self, _path: str, _unit: str) -> Any:
        raise RuntimeError("not before macOS 14.4")


@pytest.fixture
def core(monkeypatch: pytest.MonkeyPatch) -> FakeCoreML:
    fake = FakeCoreML()
    monkeypatch.setattr(macos, "preload", lambda: fake)
    monkeypatch.setattr(sys, "platform", "darwin")
    return fake


@pytest.mark.skipif(sys.platform == "darwin", reason="there it would run")
def test_other_systems_need_a_bundle() -> None:
    with pytest.raises(DeviceError, match=r"runs on macOS only.* --device iphone writes a bundle"):
        run_job([], job_of(A))


def test_a_job_yields_the_events_of_a_runner(core: FakeCoreML, tmp_path: Path) -> None:
    job, images = job_of(A, B, rounds=4), some_images(3)
    artifacts = [artifact_of(job_artifact) for job_artifact in job.artifacts]
    record = record_events(run_job(artifacts, job, images, tmp_path))
    assert (record.done, record.errors, record.job) == (True, (), "j")
    assert core.compute_unit == "CPU_AND_NE"
    x = normalise(images, artifacts[0].manifest.eval).mean((1, 2, 3))
    for sha256 in (A, B):
        measurements = record.artifacts[sha256]
        assert measurements.ready is not None
        assert measurements.rounds == ((2.0,) * 20,) * 4
        assert (measurements.ready.ready.load_ms, measurements.ready.ready.warmup) == (7.0, 10)
        assert (measurements.ready.unit, measurements.ready.units) == ("", {})
        assert (measurements.logits_done, measurements.logits_total) == (3, 3)
        values = read_logits(tmp_path / f"logits-{sha256}.f32", 3, CLASSES, "a")
        np.testing.assert_allclose(values, x[:, None] * np.arange(1, 6), 1e-3, 1e-3)


def test_errors_of_core_ml_are_one_line(core: FakeCoreML) -> None:
    core.broken = True
    job = job_of(A)
    record = record_events(run_job([artifact_of(job.artifacts[0])], job))
    assert [(e.artifact, e.message) for e in record.errors] == [
        (A, "Core ML cannot load it.mlpackage: no such opset")
    ]
    core.broken, core.last_predict_duration_in_nano_seconds = False, None
    record = record_events(run_job([artifact_of(job.artifacts[0])], job))
    assert "did not report the time" in record.errors[0].message
    with pytest.raises(UsageError, match="no unit tpu"):
        wrong = job_of(A, unit="tpu").artifacts[0]
        CoreMLModel(artifact_of(wrong), wrong)


def test_pictures_halves_and_classifiers(core: FakeCoreML) -> None:
    for dtype, kind in (("uint8", "Image"), ("float16", "ndarray")):
        job_artifact = job_of(A, dtype=dtype).artifacts[0]
        model = CoreMLModel(artifact_of(job_artifact), job_artifact)
        model.prepare(some_images(1))
        assert model.infer_ms() == 2.0
        assert type(core.feeds[-1]).__name__ == kind
    assert core.feeds[-1].dtype == np.float16
    with pytest.raises(DeviceError, match="one image at a time, not 2"):
        picture = job_of(A, dtype="uint8").artifacts[0]
        CoreMLModel(artifact_of(picture), picture).prepare(some_images(2))
    core.classifier = True
    labelled = job_of(A).artifacts[0].model_copy(update={"labels": tuple("01234")})
    model = CoreMLModel(artifact_of(labelled), labelled)
    model.prepare(some_images(1))
    model.infer_ms()
    mean = float(np.mean(core.feeds[-1]))
    np.testing.assert_allclose(model.logits(), [[mean * k for k in range(1, 6)]], 1e-4)


class MLNeuralEngineComputeDevice: ...


class MLCPUComputeDevice: ...


@pytest.mark.parametrize(("weighted", "unit"), [(True, "ane"), (False, "cpu")])
def test_the_unit_is_the_one_with_most_of_the_work(weighted: bool, unit: str) -> None:
    def operation(name: str, device: type | None, cost: float, *inner: Any) -> Any:
        return SimpleNamespace(operator_name=name, device=device, cost=cost, blocks=inner)

    ane, cpu = MLNeuralEngineComputeDevice, MLCPUComputeDevice
    nested = SimpleNamespace(operations=[operation("softmax", cpu, 0.1)])
    block = SimpleNamespace(
        operations=[
            operation("const", None, 0),
            operation("ios17.conv", ane, 0.8),
            operation("cond", cpu, 0.1, nested),
        ]
    )
    plan = SimpleNamespace(
        get_compute_device_usage_for_mlprogram_operation=lambda o: (
            o.device and SimpleNamespace(preferred_compute_device=o.device())
        ),
        get_estimated_cost_for_mlprogram_operation=lambda o: (
            SimpleNamespace(weight=o.cost) if weighted else None
        ),
    )
    units = {"ane": {"conv": 1}, "cpu": {"cond": 1, "softmax": 1}}
    assert placement_of(plan, block) == (unit, units)
