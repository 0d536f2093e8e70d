"""Benchmarks by bundles: writing one, reporting its results, and the same job on this Mac."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgenext.devices.bundles.bundle import bundle_job, write_bundle
from edgenext.devices.bundles.results import read_job, read_results
from edgenext.devices.protocol import RunnerRecord, record_events
from edgenext.devices.request import DeviceRequest, check_request
from edgenext.devices.results import device_report
from edgenext.devices.runners.python_runner import with_progress
from edgenext.formats.artifact import Artifact
from edgenext.formats.session import Images
from edgenext.options import BenchOptions
from edgenext.schema import BenchReport, Device, DeviceFacts
from edgenext.system.progress import Progress
from edgenext.system.temporary import scratch_folder

if TYPE_CHECKING:
    from edgenext.data import ImageSet


def make_bundle(
    device: Device,
    artifacts: Sequence[Artifact],
    images: ImageSet | None,
    options: BenchOptions,
) -> Path:
    """Write a bundle into a new folder in the device's folder of bundles; its folder.

    Raises:
        UsageError: an unsupported request.
        OutputError: the folder cannot be written.
    """
    request = _request(device, artifacts, images, options)
    job = bundle_job(artifacts, _pixels(images), **_settings(request))
    folder = Path(device.bundle) / f"{device.name}-{job.job}"
    return write_bundle(folder, artifacts, _pixels(images), job)


def results_report(
    path: Path, artifacts: Sequence[Artifact], images: ImageSet | None, device: Device
) -> BenchReport:
    """The report of a bundle's results, of the artifacts that could be measured.

    Raises:
        DeviceError: the results are incomplete, were changed, or are of other files or images.
    """
    record = read_results(path, artifacts, images=_pixels(images))
    job = read_job(path)
    options = BenchOptions(
        threads=job.threads,
        batch=job.batch,
        rounds=job.rounds,
        unit=job.artifacts[0].unit,
        sustained_s=job.sustained_s,
        seed=job.seed,
    )
    logits = [m.logits for m in record.artifacts.values() if m.logits]
    folder = logits[0].parent if logits else path
    return _report(_request(device, artifacts, images, options), record, folder)


def bench_mac(
    device: Device,
    artifacts: Sequence[Artifact],
    images: ImageSet | None,
    options: BenchOptions,
    *,
    progress: Progress,
) -> BenchReport:
    """Measure Core ML packages on this Mac.

    Raises:
        DeviceError: this is not a Mac.
    """
    from edgenext.devices.bundles.macos import run_job  # imports torch

    request = _request(device, artifacts, images, options)
    job = bundle_job(artifacts, _pixels(images), **_settings(request))
    with scratch_folder() as temporary:
        events = run_job(artifacts, job, _pixels(images), temporary)
        record = record_events(with_progress(events, request, progress))
        return _report(request, record, temporary)


def _request(
    device: Device,
    artifacts: Sequence[Artifact],
    images: ImageSet | None,
    options: BenchOptions,
) -> DeviceRequest:
    check_request(artifacts, options, scored=images is not None)
    facts = DeviceFacts(kind=device.kind)
    return DeviceRequest(device, facts, tuple(artifacts), images, options)


def _settings(request: DeviceRequest) -> dict[str, Any]:
    """The request as settings of a job."""
    options = request.options
    return {
        "unit": request.unit,
        "rounds": options.rounds,
        "batch": options.batch,
        "threads": options.threads,
        "seed": options.seed,
        "sustained_s": options.sustained_s,
    }


def _pixels(images: ImageSet | None) -> Images | None:
    return None if images is None else np.asarray(images.images)


def _report(request: DeviceRequest, record: RunnerRecord, folder: Path) -> BenchReport:
    """The report of the artifacts that were measured; notes name those that failed."""
    failed = {error.artifact: error.message for error in record.errors if error.artifact}
    names = dict(zip((a.manifest.sha256 for a in request.artifacts), request.names, strict=True))
    model = record.environment.cpu
    facts = record.facts or DeviceFacts(kind=request.device.kind, model=model)
    notes = tuple(f"{names.get(sha, sha)} was not measured: {why}" for sha, why in failed.items())
    facts = facts.model_copy(update={"notes": (*facts.notes, *notes)})
    measured = tuple(a for a in request.artifacts if a.manifest.sha256 not in failed)
    return device_report(replace(request, artifacts=measured, facts=facts), record, facts, folder)
