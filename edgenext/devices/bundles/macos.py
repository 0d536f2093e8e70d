"""Core ML on this Mac, timed by the clock of coremltools around its calls."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from edgenext.benchmark.environment import environment
from edgenext.benchmark.worker import burst_size, random_images, settled
from edgenext.devices.job import PROTOCOL, DeviceJob, JobArtifact
from edgenext.devices.protocol import (
    DoneEvent,
    ErrorEvent,
    Event,
    LogitsEvent,
    ReadyEvent,
    ReadyFacts,
    RoundEvent,
    StartEvent,
)
from edgenext.errors import DeviceError, EdgenextError, UsageError
from edgenext.formats.artifact import Artifact
from edgenext.formats.coreml.program import preload
from edgenext.formats.session import ArtifactSession, Images, Logits, one_line
from edgenext.system.files import sha256_file

UNITS = {"all": "ALL", "ane": "CPU_AND_NE", "npu": "CPU_AND_NE", "gpu": "CPU_AND_GPU"} | {
    "cpu": "CPU_ONLY"
}
"""Compute units of a job → coremltools' names."""
DEVICES = {
    "MLCPUComputeDevice": "cpu",
    "MLGPUComputeDevice": "gpu",
    "MLNeuralEngineComputeDevice": "ane",
}
"""coremltools' classes of devices → compute units."""
PROGRESS_S = 1.0
"""The time between two events of one artifact's logits."""


class LoadedModel(Protocol):
    """An artifact that is loaded, with its current input."""

    load_ms: float
    batch: int

    def prepare(self, images: Images) -> None:
        """Set N×H×W×3 uint8 images, one batch, as the input."""
        ...

    def infer_ms(self) -> float:
        """Wall time of one inference in ms."""
        ...

    def logits(self) -> Logits:
        """Logits of the last inference, N×K."""
        ...

    def placement(self) -> tuple[str, dict[str, dict[str, int]]]:
        """The unit with most of the work, and the operators by unit and type."""
        ...


OpenModel = Callable[[Artifact, JobArtifact], LoadedModel]


def run_job(
    artifacts: Sequence[Artifact],
    job: DeviceJob,
    images: Images | None = None,
    folder: Path = Path(),
    *,
    open_model: OpenModel | None = None,
) -> Iterator[Event]:
    """Run a job on this Mac and yield the events of a runner.

    All artifacts stay loaded in this process, so there is no peak memory of each.

    Args:
        artifacts: those of the job.
        job: see `bundle.bundle_job`.
        images: N×H×W×3 uint8; their logits are written to `logits-<sha256>.f32`.
        folder: of those files.
        open_model: opens an artifact; by default in Core ML.

    Raises:
        DeviceError: this is not a Mac.
    """
    if open_model is None:
        if sys.platform != "darwin":
            raise DeviceError(
                "Core ML runs on macOS only",
                "`edgenext bench` with --device iphone writes a bundle to measure elsewhere",
            )
        open_model = CoreMLModel
    return _events(artifacts, job, images, folder, open_model)


def _events(
    artifacts: Sequence[Artifact],
    job: DeviceJob,
    images: Images | None,
    folder: Path,
    open_model: OpenModel,
) -> Iterator[Event]:
    by_hash = {a.manifest.sha256: a for a in artifacts}
    yield StartEvent(protocol=PROTOCOL, job=job.job, environment=environment())
    models: list[tuple[str, LoadedModel, int]] = []
    for job_artifact in job.artifacts:
        sha256 = job_artifact.sha256
        artifact = by_hash[sha256]
        try:
            model = open_model(artifact, job_artifact)
            model.prepare(random_images(artifact.manifest, model.batch, job.seed))
            ready = _warm_up(model, job)
            unit, units = model.placement()
        except EdgenextError as e:
            yield ErrorEvent(artifact=sha256, message=str(e))
            continue
        yield ReadyEvent(artifact=sha256, ready=ready, unit=unit, units=units)
        models.append((sha256, model, ready.burst))
    start, done, at_s = time.monotonic(), 0, 0.0
    while models and (done < job.rounds or at_s < job.sustained_s):
        for sha256, model, burst in models:
            model.infer_ms()  # not counted: the caches are full of the previous artifact's data
            samples = tuple(model.infer_ms() for _ in range(burst))
            at_s = time.monotonic() - start
            yield RoundEvent(artifact=sha256, round=done, samples_ms=samples, at_s=at_s)
        done += 1
    if images is not None:
        for sha256, model, _ in models:
            yield from _logits(sha256, model, images, folder)
    yield DoneEvent()


def _warm_up(model: LoadedModel, job: DeviceJob) -> ReadyFacts:
    first_ms = model.infer_ms()
    samples: list[float] = []
    end = time.monotonic() + job.max_warmup_s
    while not settled(samples):
        late = len(samples) >= job.max_warmup or time.monotonic() > end
        if late and len(samples) >= job.min_warmup:
            break
        samples.append(model.infer_ms())
    return ReadyFacts(
        runtime="coreml",
        batch=model.batch,
        burst=burst_size(samples),
        load_ms=model.load_ms,
        first_ms=first_ms,
        warmup=len(samples),
        settled=settled(samples),
    )


def _logits(sha256: str, model: LoadedModel, images: Images, folder: Path) -> Iterator[Event]:
    path = folder / f"logits-{sha256}.f32"
    total, reported = len(images), time.monotonic()
    with path.open("wb") as file:
        for start in range(0, total, model.batch):
            chunk = images[start : start + model.batch]
            n = len(chunk)
            padding = np.repeat(chunk[-1:], model.batch - n, axis=0)
            model.prepare(np.concatenate((chunk, padding)))
            model.infer_ms()
            file.write(np.ascontiguousarray(model.logits()[:n], "<f4").tobytes())
            done = start + n
            if done < total and time.monotonic() - reported > PROGRESS_S:
                reported = time.monotonic()
                yield LogitsEvent(artifact=sha256, done=done, total=total)
    yield LogitsEvent(artifact=sha256, done=total, total=total, sha256=sha256_file(path))


@dataclass
class _Inference:
    """The last input of Core ML, its number of images, and the output."""

    inputs: dict[str, Any]
    count: int
    outputs: dict[str, Any]


class CoreMLModel:
    """A package in Core ML, on the job's compute unit.

    Raises:
        DeviceError: Core ML cannot load it.
        MissingDependencyError: coremltools is not installed.
        UsageError: a unit that Core ML does not have.
    """

    def __init__(self, artifact: Artifact, job_artifact: JobArtifact) -> None:
        unit = job_artifact.unit
        if unit not in UNITS:
            raise UsageError(f"Core ML has no unit {unit}", f"It has {', '.join(UNITS)}")
        self._ct = preload()
        self._job_artifact = job_artifact
        self._session = ArtifactSession(artifact.manifest)
        self.batch = self._session.batch or 1
        units = getattr(self._ct.ComputeUnit, UNITS[unit])
        try:
            self._model = self._ct.models.MLModel(str(artifact.path), compute_units=units)
        except Exception as e:  # Core ML's errors come through as plain ones
            raise DeviceError(f"Core ML cannot load {artifact.path.name}: {one_line(e)}") from e
        self.load_ms = (self._model.load_duration_in_nano_seconds or 0) / 1e6
        self._last = _Inference({}, 0, {})

    def prepare(self, images: Images) -> None:
        """Set the images of one batch as the input."""
        prepared: Any = self._session.prepare(images)
        spec = self._job_artifact.input
        if spec.dtype == "uint8":
            if len(images) != 1:
                raise DeviceError(f"Core ML takes one image at a time, not {len(images)}")
            prepared = Image.fromarray(prepared[0])
        elif spec.dtype == "float16":
            prepared = prepared.astype(np.float16)
        self._last = _Inference({spec.name: prepared}, len(images), {})

    def infer_ms(self) -> float:
        """Wall time of Core ML's own call in ms, without the Python code around it."""
        try:
            self._last.outputs = self._model.predict(self._last.inputs)
        except Exception as e:  # likewise
            raise DeviceError(f"Core ML cannot run {self._job_artifact.name}: {one_line(e)}") from e
        duration_ns = self._model.last_predict_duration_in_nano_seconds
        if not duration_ns:
            raise DeviceError("coremltools did not report the time of Core ML", "Update it")
        return float(duration_ns) / 1e6

    def logits(self) -> Logits:
        """Logits of the last inference, N×K; for a classifier, logarithms of probabilities."""
        outputs, count = self._last.outputs, self._last.count
        probabilities = next((v for v in outputs.values() if isinstance(v, dict)), None)
        if probabilities is None:
            return np.asarray(outputs[self._job_artifact.output], np.float32).reshape(count, -1)
        by_name = {str(label): p for label, p in probabilities.items()}
        order = self._job_artifact.labels or tuple(by_name)
        p = np.asarray([[by_name[label] for label in order]], np.float32)
        return np.log(np.maximum(p, np.finfo(np.float32).tiny))

    def placement(self) -> tuple[str, dict[str, dict[str, int]]]:
        """The placement that Core ML plans; empty before macOS 14.4."""
        plans = self._ct.models.compute_plan.MLComputePlan
        path = self._model.get_compiled_model_path()
        try:
            plan = plans.load_from_path(path, self._model.compute_unit)
        except Exception:  # noqa: BLE001 - an older macOS has no plans, and raises various errors
            return "", {}
        program = plan.model_structure.program
        return placement_of(plan, program.functions["main"].block) if program else ("", {})


def placement_of(plan: Any, block: Any) -> tuple[str, dict[str, dict[str, int]]]:
    """The unit with most of the estimated cost, and the operators by unit and type.

    Without estimated costs, the unit with most operators.
    """
    units: dict[str, Counter[str]] = {}
    costs: dict[str, float] = {}

    def visit(block: Any) -> None:
        for operation in block.operations:
            usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
            if usage is not None:
                device = type(usage.preferred_compute_device).__name__
                unit = DEVICES.get(device, "other")
                kind = operation.operator_name.rsplit(".", 1)[-1]
                units.setdefault(unit, Counter())[kind] += 1
                cost = plan.get_estimated_cost_for_mlprogram_operation(operation)
                costs[unit] = costs.get(unit, 0.0) + (cost.weight if cost else 0.0)
            for inner in operation.blocks:
                visit(inner)

    visit(block)
    counts = {unit: float(operators.total()) for unit, operators in units.items()}
    shares = costs if any(costs.values()) else counts
    most = max(sorted(shares), key=lambda unit: shares[unit], default="")
    return most, {unit: dict(operators) for unit, operators in units.items()}
