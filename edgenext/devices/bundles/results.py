"""The results of a bundle, verified as they are read."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgenext.devices.job import DeviceJob, JobImages
from edgenext.devices.protocol import (
    MAX_LINE,
    ArtifactMeasurements,
    DoneEvent,
    Event,
    RunnerRecord,
    parse_line,
    record_events,
)
from edgenext.devices.results import read_logits
from edgenext.errors import DeviceError
from edgenext.formats.artifact import Artifact, content_sha256
from edgenext.formats.session import Images
from edgenext.system.files import sha256_file
from edgenext.system.parsing import read_record
from edgenext.system.reading import open_file

JOB_FILE = "job.json"
RESULTS_FILE = "results.jsonl"
RESULTS_FOLDER = "results"
COPY_AGAIN = "Copy the folder from the device again, or measure again"


def read_results(
    path: Path, artifacts: Sequence[Artifact], *, images: Images | None = None
) -> RunnerRecord:
    """The record of a bundle's runner, verified to be complete and of these artifacts.

    `errors` has the artifacts that failed on the device; all others have all rounds, and logits
    where the bundle has images.

    Args:
        path: the folder of the results, their `results.jsonl`, or the bundle that has them.
        artifacts: all artifacts of the bundle.
        images: N×H×W×3 uint8 that the logits must be of; None to accept those of the bundle.

    Raises:
        DeviceError: the results are incomplete, were changed, are of another job, other artifacts
            or other images, or are links.
    """
    folder, record = _folder(path), read_runner_record(path)
    job = _read_job(folder / JOB_FILE)
    _check_artifacts(job, record, artifacts)
    _check_images(job.images, images)
    failed = {error.artifact: error.message for error in record.errors}
    if None in failed or len(failed) == len(job.artifacts):
        raise DeviceError(
            f"the device could not measure: {next(iter(failed.values()))}",
            "Correct that and measure again, with an empty folder for the results",
        )
    classes = {a.manifest.sha256: a.manifest.num_classes for a in artifacts}
    complete = {
        a.sha256: _complete(folder, job, a.name, record.artifacts.get(a.sha256), classes[a.sha256])
        for a in job.artifacts
        if a.sha256 not in failed
    }
    return replace(record, artifacts=record.artifacts | complete)


def read_job(path: Path) -> DeviceJob:
    """The job of the results at a path: see `read_results`.

    Raises:
        DeviceError: there are no results, or their job cannot be read.
    """
    return _read_job(_folder(path) / JOB_FILE)


def read_runner_record(path: Path) -> RunnerRecord:
    """The lines that a runner wrote, verified to be whole and of the job beside them.

    Raises:
        DeviceError: there are no results, or they were changed.
    """
    folder = _folder(path)
    job, record = _read_job(folder / JOB_FILE), _read_lines(folder / RESULTS_FILE)
    if record.job != job.job:
        raise DeviceError(
            f"{folder} has results of job {record.job[:16]} beside the {JOB_FILE} of job "
            f"{job.job[:16]}",
            COPY_AGAIN,
        )
    return record


def _folder(path: Path) -> Path:
    """The folder of the results."""
    if path.name == RESULTS_FILE:
        path = path.parent
    for folder in (path, path / RESULTS_FOLDER):
        if (folder / RESULTS_FILE).is_file():
            if folder != path and folder.is_symlink():
                raise DeviceError(f"{folder} is a link", "Name the folder itself")
            return folder
    raise DeviceError(
        f"no {RESULTS_FILE} at {path}",
        "Name the folder that the runner wrote, or measure the bundle first",
    )


def _check_regular(path: Path) -> None:
    """Refuse a path that is not a regular file, such as a link.

    Raises:
        DeviceError: as above.
    """
    try:
        mode = os.lstat(path).st_mode
    except OSError as e:
        raise DeviceError(f"cannot read {path}: {e.strerror}", COPY_AGAIN) from e
    if not stat.S_ISREG(mode):
        raise DeviceError(f"{path} is a link or not a file", COPY_AGAIN)


def _read_job(path: Path) -> DeviceJob:
    _check_regular(path)
    return read_record(path, DeviceJob, "a job", error=DeviceError, remedy=COPY_AGAIN, strict=True)


def _read_lines(path: Path) -> RunnerRecord:
    _check_regular(path)
    hash_before = hashlib.sha256()
    hash_of_all = ""

    def events() -> Iterator[Event]:
        nonlocal hash_of_all
        with open_file(path, DeviceError) as file:
            while line := file.readline(MAX_LINE + 1):
                if not line.endswith(b"\n"):
                    raise DeviceError(
                        f"{path} ends in the middle of a line",
                        "Start the runner again, which continues the run; or copy the folder again",
                    )
                event = parse_line(line.decode(errors="replace"))
                if isinstance(event, DoneEvent):
                    hash_of_all = hash_before.hexdigest()
                hash_before.update(line)
                yield event

    record = record_events(events())
    if not record.done:
        raise DeviceError(
            f"{path} is of a run that was interrupted",
            "Start the runner again: it continues the run",
        )
    if record.sha256 != hash_of_all:
        raise DeviceError(f"{path} is not what the runner wrote", COPY_AGAIN)
    return record


def _check_artifacts(job: DeviceJob, record: RunnerRecord, artifacts: Sequence[Artifact]) -> None:
    job_names = {a.sha256: a.name for a in job.artifacts}
    by_hash = {a.manifest.sha256: a for a in artifacts}
    recorded = {*record.artifacts, *(e.artifact for e in record.errors if e.artifact)}
    for name, problem in (
        (job_names.get(min(job_names.keys() - by_hash.keys(), default="")), "was not given"),
        (next((a.name for s, a in by_hash.items() if s not in job_names), None), "is not in them"),
    ):
        if name:
            raise DeviceError(
                f"the results are not of these artifacts: {name} {problem}",
                "Name exactly the files that are in the bundle",
            )
    if recorded - job_names.keys():
        raise DeviceError("the results have an artifact that is not in their job", COPY_AGAIN)
    for sha256, artifact in by_hash.items():
        if content_sha256(artifact.path) != sha256:
            raise DeviceError(
                f"{artifact.path} is not the file that was measured: it has changed since",
                "Export it again, write a new bundle and measure that",
            )


def _check_images(measured: JobImages | None, images: Images | None) -> None:
    if images is None:
        return
    digest = hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()
    if measured is None or (measured.sha256, measured.shape) != (digest, images.shape):
        raise DeviceError(
            "the results are of other images than those given, or of none",
            "Give the same --data and --limit as when the bundle was written",
        )


def _complete(
    folder: Path,
    job: DeviceJob,
    name: str,
    measurements: ArtifactMeasurements | None,
    classes: int,
) -> ArtifactMeasurements:
    """One artifact's measurements with its file of logits, verified to be complete."""
    done = len(measurements.rounds) if measurements else 0
    enough = done >= job.rounds if job.sustained_s else done == job.rounds
    if measurements is None or measurements.ready is None or not enough:
        raise DeviceError(f"{name} has {done} of {job.rounds} rounds in {folder}", COPY_AGAIN)
    if job.images is None:
        return measurements
    n, logits_done = job.images.shape[0], measurements.logits_done
    if (logits_done, measurements.logits_total) != (n, n):
        raise DeviceError(f"{name} has logits of {logits_done} of {n} images", COPY_AGAIN)
    path = folder / f"logits-{measurements.ready.artifact}.f32"
    _check_regular(path)
    read_logits(path, n, classes, f"{name} on the device")
    if sha256_file(path) != measurements.logits_sha256:
        raise DeviceError(f"{path.name} is not what the runner wrote", COPY_AGAIN)
    return replace(measurements, logits=path)
