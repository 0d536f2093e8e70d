"""Latency and accuracy of files in a browser or in Node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from edgenext.devices.javascript import node, web
from edgenext.devices.javascript.files import check_files
from edgenext.devices.request import DeviceRequest, check_request
from edgenext.devices.results import device_report
from edgenext.devices.runners.python_runner import job_of
from edgenext.formats.artifact import Artifact
from edgenext.options import BENCH, BenchOptions
from edgenext.schema import BenchReport, Device, DeviceFacts
from edgenext.system.progress import Progress, quiet
from edgenext.system.temporary import scratch_folder

if TYPE_CHECKING:
    from edgenext.data import ImageSet

ShowPage = Callable[[str], None]


def bench_javascript(
    device: Device,
    artifacts: Sequence[Artifact],
    images: ImageSet | None = None,
    options: BenchOptions = BENCH,
    *,
    progress: Progress = quiet,
    show_page: ShowPage = web.log_page,
) -> BenchReport:
    """Measure artifacts in a browser or in Node.

    Args:
        device: of the kind `web` or `node`.
        artifacts: the first is the base of all ratios and drops.
        images: to score them on; None for latency alone.
        options: threads, batch, rounds, compute unit and the others of `edgenext bench`.
        progress: reports every round and every image.
        show_page: told the address of the page that a person has to open.

    Raises:
        UsageError: a request that is not supported.
        ArtifactError: no engine runs a file there.
        MissingDependencyError: the engines, or what drives the browser, are not installed.
        DeviceError: it cannot be started, breaks off, or gives invalid answers.
    """
    check_request(artifacts, options, scored=images is not None)
    check_files(device, artifacts, options)
    facts = DeviceFacts(kind=device.kind)
    request = DeviceRequest(device, facts, tuple(artifacts), images, options)
    with scratch_folder() as folder:
        pixels = folder / "images.u8"
        if images is not None:
            np.ascontiguousarray(images.images).tofile(pixels)
        job = job_of(request, pixels)
        progress(f"benchmarking on {device.name}", 0, options.rounds)
        if device.kind == "node":
            record = node.measure(request, job, folder, progress)
        else:
            record = web.measure(request, job, folder, progress, show_page)
        facts = record.facts or facts
        return device_report(replace(request, facts=facts), record, facts, folder)


def probe(device: Device) -> DeviceFacts | None:
    """What a browser or Node is; None of a page that a person has to open first.

    Raises:
        MissingDependencyError: the engines, or what drives the browser, are not installed.
        DeviceError: it cannot be started.
    """
    if device.kind == "node":
        return node.probe(device)
    return web.probe(device) if "browser" in device.links else None
