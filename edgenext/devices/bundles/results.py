"""Results that come back from a bundle: checked before anything is believed."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from edgenext.devices.job import Job, JobImages
from edgenext.devices.protocol import (
    MAX_LINE,
    Done,
    Event,
    Measured,
    Recorded,
    first_error,
    parse_line,
    record,
)
from edgenext.devices.results import read_logits
from edgenext.errors import DeviceError
from edgenext.formats.artifact import Artifact, content_sha256
from edgenext.formats.session import Images
from edgenext.system.files import sha256_file

JOB_FILE = "job.json"
RESULTS_FILE = "results.jsonl"
RESULTS_FOLDER = "results"
COPY_AGAIN = "Copy the folder from the device again, or measure again"


def read_results(
    where: Path, artifacts: Sequence[Artifact], *, images: Images | None = None
) -> Recorded:
    """What a runner of a bundle measured, proven to be whole and of these artifacts.

    An artifact that failed on the device stands in `errors`; of all others there are all rounds,
    and logits where the bundle has images.

    Args:
        where: the folder of the results, their `results.jsonl`, or the bundle that has them.
        artifacts: all that the bundle was written of.
        images: N×H×W×3 uint8 that the logits must be of; None to take those of the bundle.

    Raises:
        DeviceError: the results are not whole, were changed, are of another job, other artifacts
            or other images, or are links.
    """
    folder = _folder(where)
    job = _read_job(folder / JOB_FILE)
    recorded = _read_lines(folder / RESULTS_FILE)
    if recorded.job != job.job:
        raise DeviceError(
            f"{folder} has results of job {recorded.job[:16]} beside the {JOB_FILE} of job "
            f"{job.job[:16]}",
            COPY_AGAIN,
        )
    _check_artifacts(job, recorded, artifacts)
    _check_images(job.images, images)
    broken = {error.artifact: error.message for error in recorded.errors}
    if None in broken or len(broken) == len(job.artifacts):
        raise DeviceError(
            f"the device could not measure: {next(iter(broken.values()))}",
            "Put that right and measure again, with an empty folder for the results",
        )
    classes = {a.manifest.sha256: a.manifest.num_classes for a in artifacts}
    whole = {
        asked.sha256: _whole(
            folder, job, asked.name, recorded.artifacts.get(asked.sha256), classes[asked.sha256]
        )
        for asked in job.artifacts
        if asked.sha256 not in broken
    }
    return replace(recorded, artifacts=recorded.artifacts | whole)


def read_job(where: Path) -> Job:
    """What the runner that left results at `where` was asked.

    Raises:
        DeviceError: there are no results, or their job cannot be read.
    """
    return _read_job(_folder(where) / JOB_FILE)


def _folder(where: Path) -> Path:
    """The folder in which the results lie."""
    if where.name == RESULTS_FILE:
        where = where.parent
    for folder in (where, where / RESULTS_FOLDER):
        if (folder / RESULTS_FILE).is_file():
            if folder != where and folder.is_symlink():
                raise DeviceError(f"{folder} is a link", "Name the folder itself")
            return folder
    raise DeviceError(
        f"no {RESULTS_FILE} at {where}",
        "Name the folder that the runner wrote, or measure the bundle first",
    )


def _regular(path: Path) -> None:
    """Raises a DeviceError unless `path` is a file itself, and no link to one."""
    try:
        mode = os.lstat(path).st_mode
    except OSError as e:
        raise DeviceError(f"cannot read {path}: {e.strerror}", COPY_AGAIN) from e
    if not stat.S_ISREG(mode):
        raise DeviceError(f"{path} is a link or no file", COPY_AGAIN)


def _read_job(path: Path) -> Job:
    _regular(path)
    try:
        return Job.model_validate_json(path.read_bytes(), strict=True)
    except ValidationError as e:
        raise DeviceError(f"{path} is no job: {first_error(e)}", COPY_AGAIN) from e


def _read_lines(path: Path) -> Recorded:
    _regular(path)
    before = hashlib.sha256()
    ended = ""

    def events() -> Iterator[Event]:
        nonlocal ended
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE + 1):
                if not line.endswith(b"\n"):
                    raise DeviceError(
                        f"{path} ends in the middle of a line",
                        "Start the runner again, it goes on where it was; or copy the folder again",
                    )
                event = parse_line(line.decode(errors="replace"))
                if isinstance(event, Done):
                    ended = before.hexdigest()
                before.update(line)
                yield event

    recorded = record(events())
    if not recorded.done:
        raise DeviceError(
            f"{path} is of a run that was interrupted",
            "Start the runner again: it goes on where it was",
        )
    if recorded.sha256 != ended:
        raise DeviceError(f"{path} is not what the runner wrote", COPY_AGAIN)
    return recorded


def _check_artifacts(job: Job, recorded: Recorded, artifacts: Sequence[Artifact]) -> None:
    asked = {a.sha256: a.name for a in job.artifacts}
    given = {a.manifest.sha256: a for a in artifacts}
    told = {*recorded.artifacts, *(e.artifact for e in recorded.errors if e.artifact)}
    for name, missing in (
        (asked.get(min(asked.keys() - given.keys(), default="")), "was not given"),
        (next((a.name for s, a in given.items() if s not in asked), None), "is not in them"),
    ):
        if name:
            raise DeviceError(
                f"the results are not of these artifacts: {name} {missing}",
                "Name the very files that the bundle was written of",
            )
    if told - asked.keys():
        raise DeviceError("the results tell of an artifact that is not in their job", COPY_AGAIN)
    for sha256, artifact in given.items():
        if content_sha256(artifact.path) != sha256:
            raise DeviceError(
                f"{artifact.path} is not the file that was measured: it has changed since",
                "Export it again, write a new bundle and measure that",
            )


def _check_images(measured: JobImages | None, images: Images | None) -> None:
    if images is None:
        return
    given = hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()
    if measured is None or (measured.sha256, measured.shape) != (given, images.shape):
        raise DeviceError(
            "the results are of other images than those given, or of none",
            "Give the same --data and --limit as when the bundle was written",
        )


def _whole(folder: Path, job: Job, name: str, mine: Measured | None, classes: int) -> Measured:
    """What one artifact came to, with its file of logits, proven to be all that was asked."""
    done = len(mine.rounds) if mine else 0
    enough = done >= job.rounds if job.sustained_s else done == job.rounds
    if mine is None or mine.ready is None or not enough:
        raise DeviceError(f"{name} has {done} of {job.rounds} rounds in {folder}", COPY_AGAIN)
    if job.images is None:
        return mine
    n = job.images.shape[0]
    if (mine.logits_done, mine.logits_total) != (n, n):
        raise DeviceError(f"{name} has logits of {mine.logits_done} of {n} images", COPY_AGAIN)
    path = folder / f"logits-{mine.ready.artifact}.f32"
    _regular(path)
    read_logits(path, n, classes, f"{name} on the device")
    if sha256_file(path) != mine.logits_sha256:
        raise DeviceError(f"{path.name} is not what the runner wrote", COPY_AGAIN)
    return replace(mine, logits=path)
