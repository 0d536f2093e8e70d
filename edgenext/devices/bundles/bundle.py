"""A bundle: a folder that is carried to a Mac or an iPhone and back with its results."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from edgenext.devices.bundles.results import JOB_FILE, RESULTS_FOLDER
from edgenext.devices.job import DeviceJob, JobArtifact, JobImages
from edgenext.devices.request import input_spec
from edgenext.errors import ArtifactError, OutputError, UsageError
from edgenext.formats.artifact import Artifact, content_sha256, write_manifest
from edgenext.formats.session import Images
from edgenext.system.files import publish, staging
from edgenext.system.parsing import first_error
from edgenext.system.sums import SUMS, write_sums

IMAGES_FILE = "images.u8"
README_FILE = "README.txt"
RUNNER_FOLDER = "runner"
RUNNER = Path(__file__).with_name("swift")
"""The Swift package of the runner."""

README = """\
Measure these on a Mac or an iPhone:

{files}
On a Mac, with Xcode's command line tools:

    cd {runner}
    swift run -c release edgerunner ..

On an iPhone: see {runner}/README.txt. A run that was stopped continues when it is started again.
Then take this folder, or the results alone, back to where it was written:

    edgenext bench {names} --import {results}

Change nothing in this folder: the runner and the import verify every file.
"""


def write_bundle(
    folder: Path, artifacts: Sequence[Artifact], images: Images | None, job: DeviceJob
) -> Path:
    """Write a bundle, completely or not at all; its folder.

    Args:
        folder: of the bundle; it must not exist, or be empty.
        artifacts: those of the job.
        images: N×H×W×3 uint8, those of the job; None where it has none.
        job: see `bundle_job`.

    Raises:
        ArtifactError: an artifact has changed since it was opened.
        OutputError: the folder is not empty, or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(
            f"{folder} exists already, perhaps with results",
            "Choose another folder, or remove it",
        )
    names = [artifact.file for artifact in job.artifacts]
    with staging(folder) as stage:
        bundle = stage / folder.name
        bundle.mkdir()
        (bundle / JOB_FILE).write_text(job.model_dump_json(indent=2, exclude_none=True) + "\n")
        if images is not None:
            (bundle / IMAGES_FILE).write_bytes(np.ascontiguousarray(images).data)
        for artifact, name in zip(artifacts, names, strict=True):
            _copy(artifact, bundle / name)
        shutil.copytree(
            RUNNER, bundle / RUNNER_FOLDER, ignore=shutil.ignore_patterns(".*", "__pycache__")
        )
        (bundle / README_FILE).write_text(_readme(names))
        write_sums(bundle, [bundle])
        publish(stage)
    return folder


def bundle_job(
    artifacts: Sequence[Artifact], images: Images | None, *, unit: str = "ane", **settings: Any
) -> DeviceJob:
    """The job of a bundle; its name is a hash of its content.

    Args:
        artifacts: Core ML packages; with images of the same transform.
        images: N×H×W×3 uint8 whose logits are computed; None for latency alone.
        unit: the compute unit of all artifacts.
        settings: the other fields of `DeviceJob`, such as rounds and seed.

    Raises:
        UsageError: an artifact in another format or given twice, different transforms, or an
            invalid setting.
    """
    names = file_names(artifacts)
    transforms = dict.fromkeys((a.manifest.eval.mean, a.manifest.eval.std) for a in artifacts)
    if len(transforms) != 1 and images is not None:
        raise UsageError(
            "the artifacts normalise images in different ways", "Write a bundle for each"
        )
    mean, std = next(iter(transforms))
    try:
        job = DeviceJob(
            job="",
            artifacts=tuple(
                JobArtifact(
                    sha256=a.manifest.sha256,
                    file=name,
                    name=a.name,
                    format=a.manifest.format,
                    input=input_spec(a),
                    output=a.manifest.outputs[0].name,
                    unit=unit,
                    labels=a.manifest.shown_names,
                )
                for a, name in zip(artifacts, names, strict=True)
            ),
            images=_images(images),
            mean=mean,
            std=std,
            **settings,
        )
    except ValidationError as e:
        raise UsageError(f"invalid setting of a bundle: {first_error(e)}") from e
    digest = hashlib.sha256(job.model_dump_json().encode()).hexdigest()
    return job.model_copy(update={"job": digest[:16]})


def file_names(artifacts: Sequence[Artifact]) -> list[str]:
    """The artifacts' file names in a bundle: plain, and unique on every file system.

    Raises:
        UsageError: no artifact, an artifact in another format, or the same one twice.
    """
    if not artifacts:
        raise UsageError("nothing to measure", "Name at least one artifact")
    reserved = (JOB_FILE, IMAGES_FILE, README_FILE, RUNNER_FOLDER, RESULTS_FOLDER, SUMS)
    taken = {name.lower() for name in reserved}
    names: list[str] = []
    hashes: set[str] = set()
    for artifact in artifacts:
        if artifact.manifest.format != "coreml":
            raise UsageError(
                f"{artifact.path.name} is in {artifact.manifest.format}, and an iPhone or a "
                "Mac is measured with Core ML",
                "Export it with --format coreml",
            )
        if artifact.manifest.sha256 in hashes:
            raise UsageError(f"{artifact.path} is given twice", "Give each artifact once")
        hashes.add(artifact.manifest.sha256)
        plain = re.sub(r"[^\w.+-]", "_", artifact.path.name).lstrip(".") or "artifact"
        stem, suffix = Path(plain).stem, Path(plain).suffix
        name, count = plain, 1
        while {name.lower(), f"{name}.json".lower()} & taken:
            count += 1
            name = f"{stem}-{count}{suffix}"
        taken |= {name.lower(), f"{name}.json".lower()}
        names.append(name)
    return names


def _images(images: Images | None) -> JobImages | None:
    if images is None:
        return None
    if images.dtype != np.uint8 or images.ndim != 4:
        raise UsageError(f"images are {images.dtype} with {images.ndim} axes, not N×H×W×3 uint8")
    n, height, width, channels = images.shape
    digest = hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()
    return JobImages(file=IMAGES_FILE, shape=(n, height, width, channels), sha256=digest)


def _copy(artifact: Artifact, to: Path) -> None:
    """Copy an artifact and its manifest, and verify the copy's hash."""
    if artifact.path.is_dir():
        shutil.copytree(artifact.path, to)
    else:
        shutil.copyfile(artifact.path, to)
    if content_sha256(to) != artifact.manifest.sha256:
        raise ArtifactError(f"{artifact.path} is not the file of its manifest", "Export it again")
    write_manifest(to, artifact.manifest.model_copy(update={"file": to.name}))


def _readme(names: Sequence[str]) -> str:
    return README.format(
        files="".join(f"    {name}\n" for name in names),
        names=" ".join(names),
        runner=RUNNER_FOLDER,
        results=RESULTS_FOLDER,
    )
