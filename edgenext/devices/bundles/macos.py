"""Core ML on the Mac at hand, timed by the clock that coremltools keeps around its calls."""

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
from edgenext.devices.job import PROTOCOL, Job, JobArtifact
from edgenext.devices.protocol import (
    Done,
    Event,
    Failed,
    LogitsDone,
    ReadyEvent,
    Round,
    Start,
    Warm,
)
from edgenext.errors import DeviceError, EdgenextError, UsageError
from edgenext.formats.artifact import Artifact
from edgenext.formats.coreml.program import preload
from edgenext.formats.session import ArtifactSession, Images, Logits, one_line
from edgenext.system.files import sha256_file

UNITS = {"all": "ALL", "ane": "CPU_AND_NE", "npu": "CPU_AND_NE", "gpu": "CPU_AND_GPU"} | {
    "cpu": "CPU_ONLY"
}
"""What a job calls the units that Core ML may use → coremltools' name."""
DEVICES = {
    "MLCPUComputeDevice": "cpu",
    "MLGPUComputeDevice": "gpu",
    "MLNeuralEngineComputeDevice": "ane",
}
"""coremltools' classes of devices → ours."""
TOLD_S = 1.0
"""Time between two events of one artifact's logits."""


class Model(Protocol):
    """An artifact that is loaded, with an input in place."""

    load_ms: float
    batch: int

    def prepare(self, images: Images) -> None:
        """Put N×H×W×3 uint8 images, those of one batch, in place as its input."""
        ...

    def infer_ms(self) -> float:
        """Wall time of one inference in ms."""
        ...

    def logits(self) -> Logits:
        """Logits of the last inference, N×K."""
        ...

    def placement(self) -> tuple[str, dict[str, dict[str, int]]]:
        """The unit that does most of the work, and operators by unit and type."""
        ...


Load = Callable[[Artifact, JobArtifact], Model]


def bench_here(
    artifacts: Sequence[Artifact],
    job: Job,
    images: Images | None = None,
    folder: Path = Path(),
    *,
    load: Load | None = None,
) -> Iterator[Event]:
    """Do a job on this Mac and tell the same events as a runner elsewhere.

    All artifacts stay loaded in this process, so their peak memory is not told.

    Args:
        artifacts: those of the job.
        job: what is asked, as `bundle.describe` gives it.
        images: N×H×W×3 uint8; their logits go to `logits-<sha256>.f32`.
        folder: of those files.
        load: opens an artifact; Core ML itself unless a test puts something in its place.

    Raises:
        DeviceError: this is no Mac.
    """
    if load is None:
        if sys.platform != "darwin":
            raise DeviceError(
                "Core ML runs on macOS only",
                "`edgenext bench` with --device iphone writes a bundle to measure elsewhere",
            )
        load = CoreMLModel
    return _events(artifacts, job, images, folder, load)


def _events(
    artifacts: Sequence[Artifact], job: Job, images: Images | None, folder: Path, load: Load
) -> Iterator[Event]:
    by_hash = {a.manifest.sha256: a for a in artifacts}
    yield Start(protocol=PROTOCOL, job=job.job, environment=environment())
    warm: list[tuple[JobArtifact, Model, int]] = []
    for asked in job.artifacts:
        artifact = by_hash[asked.sha256]
        try:
            model = load(artifact, asked)
            model.prepare(random_images(artifact.manifest, model.batch, job.seed))
            ready = _warm_up(model, job)
            unit, units = model.placement()
        except EdgenextError as e:
            yield Failed(artifact=asked.sha256, message=str(e))
            continue
        yield ReadyEvent(artifact=asked.sha256, ready=ready, unit=unit, units=units)
        warm.append((asked, model, ready.burst))
    start, done = time.monotonic(), 0
    while warm and (done < job.rounds or time.monotonic() - start < job.sustained_s):
        for asked, model, burst in warm:
            model.infer_ms()  # not counted: it finds the caches full of what ran before
            samples = tuple(model.infer_ms() for _ in range(burst))
            at_s = time.monotonic() - start
            yield Round(artifact=asked.sha256, round=done, samples_ms=samples, at_s=at_s)
        done += 1
    if images is not None:
        for asked, model, _ in warm:
            yield from _logits(asked.sha256, model, images, folder)
    yield Done()


def _warm_up(model: Model, job: Job) -> Warm:
    first_ms = model.infer_ms()
    samples: list[float] = []
    end = time.monotonic() + job.max_warmup_s
    while not settled(samples):
        late = len(samples) >= job.max_warmup or time.monotonic() > end
        if late and len(samples) >= job.min_warmup:
            break
        samples.append(model.infer_ms())
    return Warm(
        runtime="coreml",
        batch=model.batch,
        burst=burst_size(samples),
        load_ms=model.load_ms,
        first_ms=first_ms,
        warmup=len(samples),
        settled=settled(samples),
    )


def _logits(sha256: str, model: Model, images: Images, folder: Path) -> Iterator[Event]:
    path = folder / f"logits-{sha256}.f32"
    total, told = len(images), time.monotonic()
    with path.open("wb") as file:
        for start in range(0, total, model.batch):
            chunk = images[start : start + model.batch]
            n = len(chunk)
            fill = np.repeat(chunk[-1:], model.batch - n, axis=0)
            model.prepare(np.concatenate((chunk, fill)))
            model.infer_ms()
            file.write(np.ascontiguousarray(model.logits()[:n], "<f4").tobytes())
            done = start + n
            if done < total and time.monotonic() - told > TOLD_S:
                told = time.monotonic()
                yield LogitsDone(artifact=sha256, done=done, total=total)
    yield LogitsDone(artifact=sha256, done=total, total=total, sha256=sha256_file(path))


@dataclass
class _Last:
    """What was given to Core ML last, and what it gave."""

    feed: dict[str, Any]
    rows: int
    given: dict[str, Any]


class CoreMLModel:
    """A package in Core ML, on the unit that is asked for.

    Raises:
        DeviceError: Core ML refuses it.
        MissingDependencyError: coremltools is not installed.
        UsageError: a unit that Core ML does not have.
    """

    def __init__(self, artifact: Artifact, asked: JobArtifact) -> None:
        if asked.unit not in UNITS:
            raise UsageError(f"Core ML has no unit {asked.unit}", f"It has {', '.join(UNITS)}")
        self._ct = preload()
        self._asked = asked
        self._session = ArtifactSession(artifact.manifest)
        self.batch = self._session.batch or 1
        units = getattr(self._ct.ComputeUnit, UNITS[asked.unit])
        try:
            self._model = self._ct.models.MLModel(str(artifact.path), compute_units=units)
        except Exception as e:  # Core ML's errors come through as plain ones
            raise DeviceError(f"Core ML cannot load {artifact.path.name}: {one_line(e)}") from e
        self.load_ms = (self._model.load_duration_in_nano_seconds or 0) / 1e6
        self._last = _Last({}, 0, {})

    def prepare(self, images: Images) -> None:
        """Put the images of one batch in place as the input."""
        prepared: Any = self._session.prepare(images)
        if self._asked.input.dtype == "uint8":
            if len(images) != 1:
                raise DeviceError(f"Core ML takes one picture at a time, not {len(images)}")
            prepared = Image.fromarray(prepared[0])
        elif self._asked.input.dtype == "float16":
            prepared = prepared.astype(np.float16)
        self._last = _Last({self._asked.input.name: prepared}, len(images), {})

    def infer_ms(self) -> float:
        """Wall time of Core ML's own call in ms, without what Python does around it."""
        try:
            self._last.given = self._model.predict(self._last.feed)
        except Exception as e:  # likewise
            raise DeviceError(f"Core ML cannot run {self._asked.name}: {one_line(e)}") from e
        spent = self._model.last_predict_duration_in_nano_seconds
        if not spent:
            raise DeviceError("coremltools did not tell how long Core ML took", "Update it")
        return float(spent) / 1e6

    def logits(self) -> Logits:
        """Logits of the last inference, N×K; of a classifier, logarithms of probabilities."""
        given = self._last.given
        named = next((v for v in given.values() if isinstance(v, dict)), None)
        if named is None:
            return np.asarray(given[self._asked.output], np.float32).reshape(self._last.rows, -1)
        by_name = {str(label): p for label, p in named.items()}
        order = self._asked.labels or tuple(by_name)
        p = np.asarray([[by_name[label] for label in order]], np.float32)
        return np.log(np.maximum(p, np.finfo(np.float32).tiny))

    def placement(self) -> tuple[str, dict[str, dict[str, int]]]:
        """What Core ML plans; nothing before macOS 14.4."""
        plans = self._ct.models.compute_plan.MLComputePlan
        path = self._model.get_compiled_model_path()
        try:
            plan = plans.load_from_path(path, self._model.compute_unit)
        except Exception:  # noqa: BLE001 - an older macOS has none, and says so in many ways
            return "", {}
        program = plan.model_structure.program
        return planned(plan, program.functions["main"].block) if program else ("", {})


def planned(plan: Any, block: Any) -> tuple[str, dict[str, dict[str, int]]]:
    """The unit with most of the estimated cost, else most operators; operators by unit and type."""
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
    counts = {unit: float(found.total()) for unit, found in units.items()}
    shares = costs if any(costs.values()) else counts
    most = max(sorted(shares), key=lambda unit: shares[unit], default="")
    return most, {unit: dict(found) for unit, found in units.items()}
