"""Measuring in Node: a runner that starts a process for each file."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

import psutil

from edgenext.benchmark.environment import choose_cpus, environment
from edgenext.devices.javascript.server import RUNNER
from edgenext.devices.javascript.watch import RoundsWatch
from edgenext.devices.job import DeviceJob
from edgenext.devices.protocol import (
    DoneEvent,
    ErrorEvent,
    Event,
    RunnerRecord,
    parse_line,
    record_events,
)
from edgenext.devices.request import DeviceRequest
from edgenext.devices.runners.python_runner import with_progress
from edgenext.devices.transports.node import find_node
from edgenext.errors import DeviceError
from edgenext.schema import Device, DeviceFacts
from edgenext.system.environments import require_modules
from edgenext.system.files import sha256_file
from edgenext.system.parsing import parse_record
from edgenext.system.processes import EXIT_S, Deadline, end_process
from edgenext.system.progress import Progress
from edgenext.system.temporary import scratch_folder

PROBE_S = 60.0
"""The longest that Node may take to say what it is."""
MEASURE_AGAIN = "Run the same command again"


def probe(device: Device) -> DeviceFacts:
    """What the Node of this machine is.

    Raises:
        MissingDependencyError: the engine is not installed.
        DeviceError: it cannot be started.
    """
    with scratch_folder() as folder:
        (folder / "job.json").write_text("null")
        with _runner(device, folder, folder, (), PROBE_S) as lines:
            text = next(lines, "")
    return parse_record(text, DeviceFacts, "Node's facts", error=DeviceError)


def measure(
    request: DeviceRequest, job: DeviceJob, folder: Path, progress: Progress
) -> RunnerRecord:
    """The record of a request that Node measures; logits go into a folder, which has the images.

    Raises:
        MissingDependencyError: the engine is not installed.
        DeviceError: Node cannot be started, breaks off or reports an error.
    """
    cpus = choose_cpus(job.threads, _allowed_cpus())
    for artifact in request.artifacts:
        link = folder / artifact.manifest.sha256
        if not link.exists():  # the same file may be given twice
            link.symlink_to(artifact.path.resolve())
    (folder / "job.json").write_text(job.model_dump_json())
    device = request.device
    with _runner(device, folder, folder, cpus, request.options.limit_s) as lines:
        watch = RoundsWatch(cpus, _descendants, len(request.artifacts) + 1)

        def events() -> Iterator[Event]:
            for line in lines:
                event = parse_line(line)
                watch.note(event)
                yield event
                if isinstance(event, DoneEvent | ErrorEvent):
                    return

        record = record_events(with_progress(events(), request, progress))
    for sha256, measurements in record.artifacts.items() if job.images else ():
        if sha256_file(folder / f"logits-{sha256}.f32") != measurements.logits_sha256:
            raise DeviceError(f"{device.name} wrote other logits than it reported", MEASURE_AGAIN)
    packages = record.environment.packages
    here = environment().model_copy(update={"packages": packages})
    return replace(record, environment=here, conditions=watch.conditions)


@contextmanager
def _runner(
    device: Device, files: Path, out: Path, cpus: Sequence[int], limit_s: float
) -> Iterator[Iterator[str]]:
    """The lines of a runner with a job, which ends with the block and all its processes.

    Raises:
        MissingDependencyError: the engine is not installed.
        DeviceError: Node cannot be started; or, as lines are read, it ended before its job.
    """
    node, packages = find_node(device.links["node"]), require_modules("node")
    program = (node, RUNNER / "node.mjs", files / "job.json", files, packages, out)
    command = (*map(str, program), json.dumps(list(cpus)))
    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                encoding="utf-8",
            )
        except OSError as e:
            raise DeviceError(f"{node} cannot be started: {e.strerror or e}") from e
        try:
            _pin(process.pid, cpus)
            yield _lines(process, Deadline(process, limit_s), log)
        finally:
            _end(process)


def _lines(process: subprocess.Popen[str], deadline: Deadline, log: IO[bytes]) -> Iterator[str]:
    """The lines of the runner's output, of which the last is not its end.

    Raises:
        DeviceError: it ended.
    """
    with deadline.waiting():
        yield from process.stdout or ()
        death = deadline.death(log)
    raise DeviceError(f"Node {death.cause}", MEASURE_AGAIN)


def _pin(pid: int, cpus: Sequence[int]) -> None:
    """Keep a process and those that it starts on some logical CPUs, where that is possible."""
    process = psutil.Process(pid)
    if cpus and hasattr(process, "cpu_affinity"):
        with contextlib.suppress(psutil.Error):
            process.cpu_affinity(list(cpus))


def _allowed_cpus() -> list[int]:
    process = psutil.Process()
    return list(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else []


def _descendants() -> list[int]:
    return [process.pid for process in psutil.Process().children(recursive=True)]


def _end(process: subprocess.Popen[str]) -> None:
    """Kill the runner and its processes, which may be stopped."""
    with contextlib.suppress(psutil.Error):
        children = psutil.Process(process.pid).children(recursive=True)
        for child in children:
            with contextlib.suppress(psutil.Error):
                child.kill()
        psutil.wait_procs(children, EXIT_S)  # the runner takes note of their end
    end_process(process)
