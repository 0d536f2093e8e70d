"""Latency and accuracy of the same files, here or on a device."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgenext.artifact import Artifact, open_artifact
from edgenext.evaluation import Progress, comparison, images_for, measure, quiet, scores
from edgenext.options import BenchOptions, ModelOptions
from edgenext.schema import BenchReport, Device
from edgenext.subjects import Subject

if TYPE_CHECKING:
    from edgenext.data import ImageSet

HERE = "cpu"
"""The device that is this machine's own CPU, each file in its own runtime."""


def bench(
    paths: Sequence[Path],
    device: str = HERE,
    data: str | Path | None = None,
    how: BenchOptions | None = None,
    *,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress = quiet,
) -> BenchReport:
    """Latency of artifacts, interleaved, and their accuracy on `data` if there is any.

    Args:
        paths: artifacts; the first is the base of ratios and drops.
        device: `cpu` for this machine, else a device's name or the kind of the only one.
        data: folder or zip of images.
        how: threads, batch, rounds, compute unit.
        limit: use a stratified subset of so many images.
        seed: of every random choice.
        progress: called as it goes on.

    Raises:
        UsageError: no such device, or an option that cannot be.
        OverlapError: an artifact was calibrated on some of the images.
        DeviceError: the device cannot be reached, refuses, fails or answers nonsense.
    """
    how = how or BenchOptions()
    artifacts = [open_artifact(path) for path in paths]
    if device == HERE:
        return _here(artifacts, data, how, limit, seed, progress)
    from edgenext.devices.bundles.carried import on_this_mac
    from edgenext.devices.measure import bench as run
    from edgenext.devices.registry import find

    where = find(device)
    images = _images(artifacts, data, limit, seed, progress) if data else None
    if where.bundle:
        return on_this_mac(where, artifacts, images, how, seed=seed, progress=progress)
    return run(where, artifacts, images, how, seed=seed, progress=progress)


def is_carried(device: str) -> bool:
    """Whether a device is measured by a bundle that somebody carries there.

    Raises:
        UsageError: no such device.
    """
    if device == HERE:
        return False
    from edgenext.devices.registry import find

    return bool(find(device).bundle) and sys.platform != "darwin"


def bundle(
    paths: Sequence[Path],
    device: str,
    data: str | Path | None = None,
    how: BenchOptions | None = None,
    *,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress = quiet,
) -> Path:
    """Write a bundle to measure on a device without a link; its folder. Arguments as in `bench`.

    Raises:
        UsageError: no such device, or files that it cannot run.
        OutputError: the bundle is there already, or cannot be written.
    """
    from edgenext.devices.bundles.carried import bundle as write
    from edgenext.devices.registry import find

    artifacts = [open_artifact(path) for path in paths]
    images = _images(artifacts, data, limit, seed, progress) if data else None
    return write(find(device), artifacts, images, how or BenchOptions(), seed)


def imported(
    paths: Sequence[Path],
    results: Path,
    data: str | Path | None = None,
    *,
    device: str = "iphone",
    limit: int | None = None,
    seed: int = 0,
    progress: Progress = quiet,
) -> BenchReport:
    """The report of results that came back from a bundle of these artifacts.

    Raises:
        DeviceError: they are not whole, were changed, or are of other files or images.
    """
    from edgenext.devices.bundles.carried import imported as read
    from edgenext.devices.registry import known

    artifacts = [open_artifact(path) for path in paths]
    images = _images(artifacts, data, limit, seed, progress) if data else None
    where = known().get(device) or Device(name=device, kind="iphone", bundle=str(results))
    return read(results, artifacts, images, where)


def _images(
    artifacts: Sequence[Artifact],
    data: str | Path,
    limit: int | None,
    seed: int,
    progress: Progress,
) -> ImageSet:
    """The images that artifacts are scored on; none of them may have been calibrated on one."""
    from edgenext.data import require_disjoint

    subjects = [Subject(artifact=artifact) for artifact in artifacts]
    found = images_for(subjects[0], data, "val", limit=limit, seed=seed, progress=progress)
    for subject in subjects:
        require_disjoint(found, subject.calibration)
    return found


def _here(
    artifacts: Sequence[Artifact],
    data: str | Path | None,
    how: BenchOptions,
    limit: int | None,
    seed: int,
    progress: Progress,
) -> BenchReport:
    from edgenext.benchmark.latency import bench as run

    found = run(
        artifacts,
        threads=how.threads,
        batch=how.batch,
        rounds=how.rounds,
        sustained_s=how.sustained_s,
        seed=seed,
        progress=partial(progress, "benchmarking"),
    )
    if data is None:
        return found
    names = [str(artifact.path) for artifact in artifacts]
    measured = measure(names, data, ModelOptions(), limit=limit, seed=seed, progress=progress)
    accuracy = {"eval": scores(measured)}
    if len(artifacts) > 1:
        return found.model_copy(update=accuracy | {"compare": comparison(measured)})
    return found.model_copy(update=accuracy)
