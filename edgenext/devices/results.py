"""From what was recorded on a device to results: latency, accuracy, energy, and their validity."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgenext.benchmark import latency
from edgenext.benchmark import validity as rules
from edgenext.benchmark.machine import Conditions
from edgenext.benchmark.published import published
from edgenext.benchmark.worker import Ready
from edgenext.devices.probes import tegrastats
from edgenext.devices.protocol import Measured, Recorded
from edgenext.devices.request import Asked
from edgenext.devices.runners.python_runner import SENSORS
from edgenext.errors import DeviceError
from edgenext.formats.artifact import Artifact
from edgenext.formats.session import Logits
from edgenext.metrics import accuracy
from edgenext.schema import (
    BenchReport,
    BenchResult,
    CompareReport,
    DeviceFacts,
    EvalReport,
    Evidence,
    Telemetry,
)

SAME_UNIT = {"tensorrt": "gpu", "ane": "npu"}
"""Names of units that run on another's hardware."""
HOT = 3
"""Android's thermal status from which on it slows down much."""


@dataclass
class Executed:
    """What `latency.result` takes for an executor: a name, and how it was loaded and warmed."""

    name: str
    ready: Ready

    def burst(self) -> list[float]:
        """Nothing runs here any more."""
        raise NotImplementedError


def report(asked: Asked, recorded: Recorded, after: DeviceFacts, folder: Path) -> BenchReport:
    """Everything that was asked.

    Args:
        asked: files, images, and the device as it was before.
        recorded: what the runner told.
        after: the device as it is now.
        folder: with `logits-<sha256>.f32` and, where there are, the sensors' lines.

    Raises:
        DeviceError: something is missing, or logits that cannot be.
    """
    if not recorded.done:
        raise DeviceError(
            f"{asked.device.name} did not say that it has done all", "Do the same again"
        )
    known = evidence(asked)
    during = recorded.during.as_conditions() if recorded.during else Conditions(cores=1)
    rows, samples = [], []
    for name, artifact in zip(asked.names, asked.artifacts, strict=True):
        mine = recorded.artifacts.get(artifact.manifest.sha256)
        if mine is None or mine.ready is None or not mine.rounds:
            raise DeviceError(f"{asked.device.name} did not measure {name}", "Do the same again")
        row = _row(asked, name, artifact, mine, during, after, known)
        sensed = telemetry(asked, mine, artifact.manifest.sha256, folder)
        rows.append(row.model_copy(update={"telemetry": sensed}))
        samples.append([list(r) for r in mine.rounds])
    timed = known in ("device", "host")
    found = BenchReport(
        results=tuple(rows),
        ratios=latency.ratios(rows, samples, asked.how.seed) if timed else (),
        environment=recorded.environment,
        device=asked.facts,
        after=after,
        published=published(asked.device.kind, ((r.arch, r.size) for r in rows)),
    )
    return found.model_copy(update=_accuracy(asked, found, folder, known))


def evidence(asked: Asked) -> Evidence:
    """What stands behind numbers of the device."""
    if asked.facts.emulator:
        return "emulated"
    return "host" if asked.device.local else "device"


def _row(
    asked: Asked,
    name: str,
    artifact: Artifact,
    mine: Measured,
    during: Conditions,
    after: DeviceFacts,
    known: Evidence,
) -> BenchResult:
    assert mine.ready is not None  # noqa: S101 - seen by the caller
    how = asked.how
    samples = [list(r) for r in mine.rounds]
    wanted = len(samples) if how.sustained_s else how.rounds
    row = latency.result(
        artifact,
        Executed(name, mine.ready.ready.as_ready(known)),
        samples,
        mine.peak_rss_mb or 0.0,
        rules.Asked(wanted, how.threads, how.batch),
        during,
        asked.device.name,
    )
    if how.sustained_s:
        row = latency.sustained(row, samples, mine.at_s)
    of_the_device = tuple(reasons(asked, mine, after))
    why = (*row.reasons, *of_the_device)
    fields: dict[str, object] = {
        "noisy": row.noisy and not of_the_device,
        "unit_asked": asked.unit,
        "unit": mine.ready.unit,
        "units": mine.ready.units,
        "partitions": mine.ready.partitions,
    }
    if known == "emulated":
        # its time says nothing, so it is not told to anybody
        why = (f"it ran under {asked.facts.emulator}: its time says nothing",)
        fields |= dict.fromkeys(("latency_ms", "load_ms", "first_ms"))
        fields |= {"samples_ms": (), "rounds": (), "n": 0, "noisy": False}
    return row.model_copy(update={**fields, "reasons": why, "valid": not why})


def reasons(asked: Asked, mine: Measured, after: DeviceFacts) -> Iterator[str]:
    """Why a latency is not that of the unit asked for, or of the device at rest."""
    assert mine.ready is not None  # noqa: S101 - seen by the caller
    want = SAME_UNIT.get(asked.unit, asked.unit)
    unit = mine.ready.unit
    if unit and asked.unit != "all" and SAME_UNIT.get(unit, unit) != want:
        yield (
            f"{asked.unit} was asked for, but it ran on the {unit}: install a runtime there that "
            f"has it, or ask for --unit {unit}"
        )
    strays = {u: n for u, n in mine.ready.units.items() if SAME_UNIT.get(u, u) != want and n}
    if asked.unit == "all":
        strays = {}
    if strays and (not unit or SAME_UNIT.get(unit, unit) == want):
        told = ", ".join(
            f"{sum(n.values())} on the {u} ({', '.join(sorted(n))})" for u, n in strays.items()
        )
        yield f"operators fell back from {asked.unit}: {told}: use a file made for that unit"
    before = asked.facts
    if before.power_mode != after.power_mode:
        yield f"the power mode changed from {before.power_mode} to {after.power_mode}: fix it"
    if (after.thermal_status or 0) >= HOT:
        yield f"the device was throttled for heat (status {after.thermal_status}): let it cool"
    if after.dozing:
        yield "the device dozed: keep it awake (adb shell svc power stayon true)"


def telemetry(asked: Asked, mine: Measured, sha256: str, folder: Path) -> Telemetry | None:
    """What the sensors said while an artifact ran without a pause; None where none were read."""
    path = folder / SENSORS
    if not path.is_file() or asked.facts.emulator:
        return None
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    rail = asked.facts.whole_rail

    def during(label: str) -> list[tegrastats.Sample]:
        found = (tegrastats.parse(row["line"]) for row in rows if row["during"] == label)
        return [sample for sample in found if sample]

    samples = during(f"load {sha256}")
    if not samples or mine.load is None:
        return None
    return tegrastats.summary(
        samples,
        mine.load.seconds,
        mine.load.inferences * (mine.ready.ready.batch if mine.ready else 1),
        rail,
        during("idle"),
    )


def _accuracy(
    asked: Asked, found: BenchReport, folder: Path, known: Evidence
) -> dict[str, EvalReport | CompareReport]:
    if asked.images is None:
        return {}
    judged = [
        accuracy.Predictions(
            row.artifact,
            read_logits(
                folder / f"logits-{row.sha256}.f32",
                len(asked.images),
                a.manifest.num_classes,
                f"{row.artifact} on {asked.device.name}",
            ),
            row.sha256,
            row.scheme,
            row.runtime,
            known,
        )
        for row, a in zip(found.results, asked.artifacts, strict=True)
    ]
    scores = accuracy.eval_report(judged, asked.images)
    if len(judged) == 1:
        return {"eval": scores}
    return {"eval": scores, "compare": accuracy.compare_report(judged[0], judged[1:], asked.images)}


def read_logits(path: Path, n: int, classes: int, of: str) -> Logits:
    """N×K logits as a runner writes them: float32, little-endian, row by row.

    Raises:
        DeviceError: there are not as many as there must be, or some are not finite.
    """
    size = path.stat().st_size if path.is_file() else 0
    if size != 4 * n * classes:
        raise DeviceError(
            f"{of} gave {size} bytes of logits; {n} images with {classes} classes have "
            f"{4 * n * classes}",
            "Copy the results from the device again, or measure again",
        )
    values = np.fromfile(path, "<f4").reshape(n, classes).astype(np.float32, copy=False)
    odd = int((~np.isfinite(values)).any(axis=1).sum())
    if odd:
        raise DeviceError(
            f"{of} gave logits of {odd} of {n} images that are not finite",
            "The artifact overflows there: export it in fp32, or ask for another unit",
        )
    return values
