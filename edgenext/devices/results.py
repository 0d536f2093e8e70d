"""The report of a runner's record: latency, accuracy, energy, and their validity."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from edgenext.benchmark.interleave import Rounds
from edgenext.benchmark.latency import (
    LatencyMeasurement,
    bench_result,
    latency_ratios,
    sustained_result,
)
from edgenext.benchmark.machine import MachineConditions
from edgenext.benchmark.noise import ASSUMED_FLOOR, noise_floor
from edgenext.benchmark.published import published_latencies
from edgenext.benchmark.validity import LatencyRequest
from edgenext.devices.probes import tegrastats
from edgenext.devices.protocol import ArtifactMeasurements, ReadyEvent, RunnerRecord
from edgenext.devices.request import DeviceRequest
from edgenext.devices.runners.python_runner import SENSORS
from edgenext.errors import DeviceError
from edgenext.formats.artifact import Artifact
from edgenext.formats.session import Logits, log
from edgenext.metrics import accuracy
from edgenext.schema import (
    TIMED,
    BenchReport,
    BenchResult,
    CompareReport,
    DeviceFacts,
    EvalReport,
    Evidence,
    NoiseFloor,
    Telemetry,
)
from edgenext.system.parsing import parse_json
from edgenext.system.reading import read_file, reason

HARDWARE = {"tensorrt": "gpu", "ane": "npu", "wasm": "cpu"}
"""Compute units that run on the hardware of another."""
THROTTLING = 3
"""The thermal status of Android from which on a device is throttled severely."""
SENSOR_LINE = 4000
"""Characters of a line of sensors that are read: tegrastats writes some 300."""
MEASURE_AGAIN = "Run the same command again"


def device_report(
    request: DeviceRequest, record: RunnerRecord, after: DeviceFacts, folder: Path
) -> BenchReport:
    """The report of a request.

    Args:
        request: the files, the images, and the device as it was before.
        record: what the runner measured.
        after: the device as it is now.
        folder: with `logits-<sha256>.f32` and, if the device has sensors, their lines.

    Raises:
        DeviceError: a measurement is missing, or logits are invalid.
    """
    if not record.done:
        raise DeviceError(f"{request.device.name} did not complete the job", MEASURE_AGAIN)
    evidence = evidence_of(request)
    results, samples = [], []
    for name, artifact in zip(request.names, request.artifacts, strict=True):
        sha256 = artifact.manifest.sha256
        measurements = record.artifacts.get(sha256)
        if measurements is None or measurements.ready is None or not measurements.rounds:
            raise DeviceError(f"{request.device.name} did not measure {name}", MEASURE_AGAIN)
        rounds = [list(one_round) for one_round in measurements.rounds]
        loaded = measurements.ready.ready.as_loaded(evidence)
        measurement = LatencyMeasurement(name, loaded, rounds, measurements.peak_rss_mb or 0.0)
        result = _timed_result(request, record, artifact, measurement)
        telemetry = telemetry_of(request, measurements, sha256, folder)
        result = _device_result(request, result, measurements, after)
        results.append(result.model_copy(update={"telemetry": telemetry}))
        samples.append(rounds)
    seed, noise = request.options.seed, None
    if evidence in TIMED:
        noise = _noise(request, record, results[0], samples[0])
    floor = noise.floor if noise else ASSUMED_FLOOR
    report = BenchReport(
        results=tuple(results),
        ratios=latency_ratios(results, samples, seed, floor) if evidence in TIMED else (),
        noise=noise,
        environment=record.environment,
        device=_without_paths(request.facts),
        after=_without_paths(after),
        published=published_latencies(request.device.kind, ((r.arch, r.size) for r in results)),
    )
    return report.model_copy(update=_accuracy(request, report, folder, evidence))


def _without_paths(facts: DeviceFacts) -> DeviceFacts:
    """The facts with the names of the device's tools instead of their paths."""
    tools = {name: PurePosixPath(path).name for name, path in facts.tools.items()}
    return facts.model_copy(update={"tools": tools})


def evidence_of(request: DeviceRequest) -> Evidence:
    """The evidence of what is measured on the request's device."""
    if request.facts.emulator:
        return "emulated"
    return "host" if request.device.local else "device"


def _noise(
    request: DeviceRequest, record: RunnerRecord, base: BenchResult, samples: Rounds
) -> NoiseFloor | None:
    """The noise floor, if the runner measured the first artifact in a second process too."""
    second = record.second
    if second is None or second.ready is None or len(second.rounds) != len(samples):
        return None
    rounds = [list(one_round) for one_round in second.rounds]
    loaded = second.ready.ready.as_loaded(base.evidence)
    measurement = LatencyMeasurement(base.artifact, loaded, rounds, 0.0)
    result = _timed_result(request, record, request.artifacts[0], measurement)
    return noise_floor(base, result, (samples, rounds), request.options.seed)


def _timed_result(
    request: DeviceRequest,
    record: RunnerRecord,
    artifact: Artifact,
    measurement: LatencyMeasurement,
) -> BenchResult:
    """An artifact's result as it would be on this machine."""
    options = request.options
    conditions = record.conditions
    rounds = len(measurement.rounds) if options.sustained_s else options.rounds
    result = bench_result(
        artifact,
        measurement,
        LatencyRequest(rounds, options.threads, options.batch),
        conditions.as_conditions() if conditions else MachineConditions(cores=1),
        request.device.name,
    )
    if not options.sustained_s:
        return result
    return sustained_result(result, measurement.rounds, record.round_ends_s)


def _device_result(
    request: DeviceRequest,
    result: BenchResult,
    measurements: ArtifactMeasurements,
    after: DeviceFacts,
) -> BenchResult:
    """The result with the compute unit it ran on, and what the device adds to its validity."""
    ready = _ready(measurements)
    device_reasons = (*unit_reasons(request, ready), *state_reasons(request.facts, after))
    reasons = (*result.reasons, *device_reasons)
    fields: dict[str, object] = {
        "noisy": result.noisy and not device_reasons,
        "unit_asked": request.unit,
        "unit": ready.unit,
        "units": ready.units,
        "partitions": ready.partitions,
    }
    if result.evidence == "emulated":
        # times under emulation mean nothing, so no report has them
        reasons = (f"it ran under {request.facts.emulator}: its time says nothing",)
        fields |= dict.fromkeys(("latency_ms", "load_ms", "first_ms"))
        fields |= {"samples_ms": (), "rounds": (), "n": 0, "noisy": False}
    return result.model_copy(update={**fields, "reasons": reasons, "valid": not reasons})


def _ready(measurements: ArtifactMeasurements) -> ReadyEvent:
    assert measurements.ready is not None  # noqa: S101 - the caller has checked it
    return measurements.ready


def unit_reasons(request: DeviceRequest, ready: ReadyEvent) -> Iterator[str]:
    """The reasons why a latency is not that of the requested compute unit."""
    if request.unit == "all":
        return
    requested = HARDWARE.get(request.unit, request.unit)
    unit = ready.unit
    other_unit = bool(unit) and HARDWARE.get(unit, unit) != requested
    if other_unit:
        yield (
            f"{request.unit} was asked for, but it ran on the {unit}: install a runtime there that "
            f"has it, or ask for --unit {unit}"
        )
    fallbacks = {u: n for u, n in ready.units.items() if HARDWARE.get(u, u) != requested and n}
    if fallbacks and not other_unit:
        operators = ", ".join(
            f"{sum(n.values())} on the {u} ({', '.join(sorted(n))})" for u, n in fallbacks.items()
        )
        yield (
            f"operators fell back from {request.unit}: {operators}: use a file made for that unit"
        )


def state_reasons(before: DeviceFacts, after: DeviceFacts) -> Iterator[str]:
    """The reasons why a latency is not that of the device at rest."""
    if before.power_mode != after.power_mode:
        yield f"the power mode changed from {before.power_mode} to {after.power_mode}: fix it"
    if (after.thermal_status or 0) >= THROTTLING:
        yield f"the device was throttled for heat (status {after.thermal_status}): let it cool"
    if after.dozing:
        yield "the device dozed: keep it awake (adb shell svc power stayon true)"


def telemetry_of(
    request: DeviceRequest, measurements: ArtifactMeasurements, sha256: str, folder: Path
) -> Telemetry | None:
    """The sensors' values while an artifact ran without a pause; None where they were not read."""
    path = folder / SENSORS
    if not path.is_file() or request.facts.emulator:
        return None
    rows = _sensor_lines(path, request.device.name)

    def samples_during(label: str) -> list[tegrastats.Sample]:
        samples = (tegrastats.parse_sample(line) for during, line in rows if during == label)
        return [sample for sample in samples if sample]

    samples = samples_during(f"load {sha256}")
    if not samples or measurements.load is None:
        return None
    return tegrastats.telemetry_summary(
        samples,
        measurements.load.seconds,
        measurements.load.inferences * _ready(measurements).ready.batch,
        request.facts.whole_rail,
        samples_during("idle"),
    )


def _sensor_lines(path: Path, device: str) -> list[tuple[str, str]]:
    """The sensors' lines, each with what ran meanwhile; see `runner/processes.py`.

    Raises:
        DeviceError: a line is not one of them.
    """
    rows = []
    content = read_file(path, DeviceError)
    complete = content[: content.rfind(b"\n") + 1]  # the runner may be ended while it writes one
    for number, text in enumerate(complete.splitlines(), 1):
        try:
            row = parse_json(text) if text.strip() else {"during": "", "line": ""}
            during, line = row["during"], row["line"]
            if not (isinstance(during, str) and isinstance(line, str)):
                raise TypeError("a field is not a text")
        except (ValueError, KeyError, TypeError) as e:
            raise DeviceError(
                f"line {number} of {device}'s sensors is damaged: {reason(e)}", MEASURE_AGAIN
            ) from e
        rows.append((during, line[:SENSOR_LINE]))
    return rows


def _accuracy(
    request: DeviceRequest, report: BenchReport, folder: Path, evidence: Evidence
) -> dict[str, EvalReport | CompareReport]:
    """The report's fields about accuracy; none without images."""
    if request.images is None:
        return {}
    predictions = [
        accuracy.Predictions(
            result.artifact,
            _logits(request, result, artifact, folder, len(request.images)),
            result.sha256,
            result.scheme,
            result.runtime,
            evidence,
        )
        for result, artifact in zip(report.results, request.artifacts, strict=True)
    ]
    scores = accuracy.eval_report(predictions, request.images)
    if len(predictions) == 1:
        return {"eval": scores}
    comparison = accuracy.compare_report(predictions[0], predictions[1:], request.images)
    return {"eval": scores, "compare": comparison}


def _logits(
    request: DeviceRequest, result: BenchResult, artifact: Artifact, folder: Path, n: int
) -> Logits:
    """The logits that a device computed of n images."""
    path, classes = folder / f"logits-{result.sha256}.f32", artifact.manifest.num_classes
    values = read_logits(path, n, classes, f"{result.artifact} on {request.device.name}")
    return log(values) if artifact.manifest.gives_probabilities else values


def read_logits(path: Path, n: int, classes: int, name: str) -> Logits:
    """N×K logits as a runner writes them: float32, little-endian, row by row.

    Args:
        path: of the file.
        n: the number of images.
        classes: the number of classes.
        name: of the artifact and its device, for errors.

    Raises:
        DeviceError: the file has another size, or logits are not finite.
    """
    size = path.stat().st_size if path.is_file() else 0
    if size != 4 * n * classes:
        raise DeviceError(
            f"{name} gave {size} bytes of logits; {n} images with {classes} classes have "
            f"{4 * n * classes}",
            "Copy the results from the device again, or measure again",
        )
    values = np.fromfile(path, "<f4").reshape(n, classes).astype(np.float32, copy=False)
    count = int((~np.isfinite(values)).any(axis=1).sum())
    if count:
        raise DeviceError(
            f"{name} gave logits that are not finite, of {count} of {n} images",
            "The artifact overflows there: export it in fp32, or ask for another unit",
        )
    return values
