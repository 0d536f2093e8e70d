"""Latency and accuracy of files on a device, in one go and by one hash."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from edgenext.devices.awake import awake
from edgenext.devices.registry import transport_for
from edgenext.devices.request import Asked, check, fitting
from edgenext.devices.results import report
from edgenext.devices.runners import python_runner as pushed
from edgenext.devices.runners import vendor_tool as native
from edgenext.formats.artifact import Artifact
from edgenext.options import BenchOptions
from edgenext.schema import BenchReport, Device
from edgenext.system.progress import Progress, quiet

if TYPE_CHECKING:
    from edgenext.data import ImageSet


DEFAULT = BenchOptions()


def bench_device(
    device: Device,
    artifacts: Sequence[Artifact],
    images: ImageSet | None = None,
    how: BenchOptions = DEFAULT,
    *,
    progress: Progress = quiet,
) -> BenchReport:
    """Measure artifacts where they will run.

    Args:
        device: one that has a link.
        artifacts: the first is the base of all ratios and drops.
        images: to score them on; none for latency alone.
        how: everything else.
        progress: called as it goes on.

    Raises:
        UsageError: what cannot be asked.
        ArtifactError: a file that the device has no runtime for.
        DeviceError: the device cannot be reached, refuses, fails or answers nonsense.
    """
    check(artifacts, how)
    with transport_for(device) as link, TemporaryDirectory(prefix="edgenext-") as temporary:
        facts = link.probe(device.python)
        asked = fitting(Asked(device, facts, tuple(artifacts), images, how))
        folder = Path(temporary)
        tool = native.tool_for(asked)
        with awake(link, facts):
            if tool:
                recorded = native.measure(link, asked, tool, folder, progress)
            else:
                recorded = pushed.measure(link, asked, folder, progress)
        return report(asked, recorded, link.probe(device.python), folder)
