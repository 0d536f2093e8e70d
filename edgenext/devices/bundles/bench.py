"""Devices without a link: a bundle goes there, results come back; a Mac at hand does the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from edgenext.devices.bundles.bundle import describe, write_bundle
from edgenext.devices.bundles.macos import bench_here
from edgenext.devices.bundles.results import read_job, read_results
from edgenext.devices.protocol import Event, Recorded, record
from edgenext.devices.request import Asked, check
from edgenext.devices.results import report
from edgenext.devices.runners.python_runner import watched
from edgenext.formats.artifact import Artifact
from edgenext.formats.session import Images
from edgenext.options import BenchOptions
from edgenext.schema import BenchReport, Device, DeviceFacts
from edgenext.system.progress import Progress

if TYPE_CHECKING:
    from edgenext.data import ImageSet


def make_bundle(
    device: Device,
    artifacts: Sequence[Artifact],
    images: ImageSet | None,
    how: BenchOptions,
) -> Path:
    """Write what is asked into a new folder of the device's; that folder.

    Raises:
        UsageError: what cannot be asked.
        OutputError: the folder cannot be written.
    """
    asked = _asked(device, artifacts, images, how)
    job = describe(artifacts, _pixels(images), **_settings(asked))
    folder = Path(device.bundle) / f"{device.name}-{job.job}"
    return write_bundle(folder, artifacts, _pixels(images), job)


def results_report(
    where: Path, artifacts: Sequence[Artifact], images: ImageSet | None, device: Device
) -> BenchReport:
    """The report of results that came back, of the artifacts that could be measured.

    Raises:
        DeviceError: they are not whole, were changed, or are of other files or images.
    """
    recorded = read_results(where, artifacts, images=_pixels(images))
    job = read_job(where)
    how = BenchOptions(
        threads=job.threads,
        batch=job.batch,
        rounds=job.rounds,
        unit=job.artifacts[0].unit,
        sustained_s=job.sustained_s,
        seed=job.seed,
    )
    measured = [m.logits for m in recorded.artifacts.values() if m.logits]
    folder = measured[0].parent if measured else where
    return _report(_asked(device, artifacts, images, how), recorded, folder)


def bench_mac(
    device: Device,
    artifacts: Sequence[Artifact],
    images: ImageSet | None,
    how: BenchOptions,
    *,
    progress: Progress,
) -> BenchReport:
    """Measure Core ML packages on the Mac at hand.

    Raises:
        DeviceError: this is no Mac.
    """
    asked = _asked(device, artifacts, images, how)
    job = describe(artifacts, _pixels(images), **_settings(asked))
    with TemporaryDirectory(prefix="edgenext-") as temporary:
        events = bench_here(artifacts, job, _pixels(images), Path(temporary))
        told: list[Event] = list(watched(events, asked, progress))
        return _report(asked, record(told), Path(temporary))


def _asked(
    device: Device,
    artifacts: Sequence[Artifact],
    images: ImageSet | None,
    how: BenchOptions,
) -> Asked:
    check(artifacts, how)
    return Asked(device, DeviceFacts(kind=device.kind), tuple(artifacts), images, how)


def _settings(asked: Asked) -> dict[str, Any]:
    how = asked.how
    return {
        "unit": asked.unit,
        "rounds": how.rounds,
        "batch": how.batch,
        "threads": how.threads,
        "seed": how.seed,
        "sustained_s": how.sustained_s,
    }


def _pixels(images: ImageSet | None) -> Images | None:
    return None if images is None else np.asarray(images.images)


def _report(asked: Asked, recorded: Recorded, folder: Path) -> BenchReport:
    """The report of what was measured; what failed there is told in the device's notes."""
    broken = {error.artifact: error.message for error in recorded.errors if error.artifact}
    names = dict(zip((a.manifest.sha256 for a in asked.artifacts), asked.names, strict=True))
    facts = recorded.facts or DeviceFacts(kind=asked.device.kind, model=recorded.environment.cpu)
    notes = tuple(f"{names.get(sha, sha)} was not measured: {why}" for sha, why in broken.items())
    facts = facts.model_copy(update={"notes": (*facts.notes, *notes)})
    left = tuple(a for a in asked.artifacts if a.manifest.sha256 not in broken)
    return report(replace(asked, artifacts=left, facts=facts), recorded, facts, folder)
