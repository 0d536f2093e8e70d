"""Latency and accuracy of the same files on a device, in one command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgenext.devices.link import DeviceLink
from edgenext.devices.registry import link_to
from edgenext.devices.request import DeviceRequest, check_request, without_slow_int8
from edgenext.devices.results import device_report
from edgenext.devices.runners.python_runner import measure_with_runner
from edgenext.devices.runners.vendor_tool import measure_with_tool, tool_for
from edgenext.formats.artifact import Artifact
from edgenext.options import BENCH, BenchOptions
from edgenext.schema import BenchReport, Device, DeviceFacts
from edgenext.system.progress import Progress, quiet
from edgenext.system.temporary import scratch_folder

if TYPE_CHECKING:
    from edgenext.data import ImageSet

WAKE = "svc power stayon true; input keyevent KEYCODE_WAKEUP; dumpsys deviceidle unforce"
STAY_ON_OFF = "svc power stayon false"
SLEEP = "input keyevent KEYCODE_SLEEP"


def bench_device(
    device: Device,
    artifacts: Sequence[Artifact],
    images: ImageSet | None = None,
    options: BenchOptions = BENCH,
    *,
    progress: Progress = quiet,
) -> BenchReport:
    """Measure artifacts on the device that they are for.

    Args:
        device: one that has a link.
        artifacts: the first is the base of all ratios and drops.
        images: to score them on; None for latency alone.
        options: threads, batch, rounds, compute unit and the others of `edgenext bench`.
        progress: reports what is sent, every round and every image.

    Raises:
        UsageError: a request that is not supported.
        ArtifactError: the device has no runtime for a file.
        DeviceError: the device cannot be reached, refuses, fails or gives invalid answers.
    """
    check_request(artifacts, options, scored=images is not None)
    with link_to(device) as link, scratch_folder() as folder:
        facts = link.probe(device.python)
        request = without_slow_int8(DeviceRequest(device, facts, tuple(artifacts), images, options))
        tool = tool_for(request)
        with screen_kept_on(link, facts):
            if tool:
                record = measure_with_tool(link, request, tool, folder, progress)
            else:
                record = measure_with_runner(link, request, folder, progress)
        return device_report(request, record, link.probe(device.python), folder)


@contextmanager
def screen_kept_on(link: DeviceLink, facts: DeviceFacts) -> Iterator[None]:
    """An Android device whose screen is on in the block, since a phone that sleeps is slow.

    Afterwards the screen is as it was. A device that does not obey is measured all the same: its
    result says whether it dozed.
    """
    if facts.kind != "android":
        yield
        return
    link.attempt(WAKE)
    try:
        yield
    finally:
        link.attempt(f"{STAY_ON_OFF}; {SLEEP}" if facts.screen_on is False else STAY_ON_OFF)
