"""Measuring in a browser: one that is started here, or one in which a person opens the page."""

from __future__ import annotations

import json
import logging
import platform
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from edgenext.benchmark.environment import environment
from edgenext.devices.javascript.chromium import OpenPage, open_page
from edgenext.devices.javascript.inbox import Expected, Inbox
from edgenext.devices.javascript.server import RUNNER, RunnerServer, Served
from edgenext.devices.javascript.watch import RoundsWatch
from edgenext.devices.job import DeviceJob
from edgenext.devices.protocol import Event, RunnerRecord
from edgenext.devices.request import DeviceRequest
from edgenext.devices.runners.python_runner import with_progress
from edgenext.devices.transports.serve import EVERYWHERE, address_of
from edgenext.errors import DeviceError
from edgenext.schema import Device, DeviceFacts
from edgenext.system.environments import require_modules
from edgenext.system.memory import MIB
from edgenext.system.parsing import parse_record
from edgenext.system.progress import Progress

_log = logging.getLogger(__name__)

WAIT_S = 1.0
"""Between two looks at the clock while no event comes."""
SILENT_S = 30.0
"""After so long without an event a page may have been closed: a round takes less."""


def log_page(url: str) -> None:
    """Say in the log that a page has to be opened."""
    _log.warning("open %s in the browser that is to measure", url)


def probe(device: Device) -> DeviceFacts:
    """What a browser of this machine is.

    Raises:
        MissingDependencyError: the engines or Playwright are not installed.
        DeviceError: it cannot be started.
    """
    server = RunnerServer(_served({"job.json": None}), None)
    with server, open_page(device.links["browser"], server.url(), _log_failure) as page:
        text = json.dumps(page.evaluate("globalThis.outcome"))
        facts = parse_record(text, DeviceFacts, "the browser's facts", error=DeviceError)
        return _facts_here(facts, page)


def measure(
    request: DeviceRequest,
    job: DeviceJob,
    folder: Path,
    progress: Progress,
    show_page: Callable[[str], None],
) -> RunnerRecord:
    """The record of a request that a page measures; logits go into a folder.

    Raises:
        MissingDependencyError: the engines or Playwright are not installed.
        DeviceError: the page cannot be served or opened, breaks off or reports an error.
    """
    files = {f"files/{a.manifest.sha256}": a.path for a in request.artifacts}
    if job.images:
        files["images"] = folder / "images.u8"
    served = _served({"job.json": job.model_dump(mode="json")}, files)
    classes = {a.manifest.sha256: a.manifest.num_classes for a in request.artifacts}
    expected = Expected(job.images.shape[0] if job.images else 0, classes)
    if "browser" in request.device.links:
        inbox = Inbox(job, expected, folder, claims=1)
        record = _measure_here(request, served, inbox, progress)
    else:
        inbox = Inbox(job, expected, folder)
        record = _measure_served(request, served, inbox, progress, show_page)
    if not (inbox.refused and record.facts):
        return record
    note = f"posts that were refused: {inbox.refused}, the first {inbox.first_refusal}"
    facts = record.facts.model_copy(update={"notes": (*record.facts.notes, note)})
    return replace(record, facts=facts)


def _measure_here(
    request: DeviceRequest, served: Served, inbox: Inbox, progress: Progress
) -> RunnerRecord:
    """Measure in a browser that is started for it, with the state of this machine meanwhile."""
    server = RunnerServer(served, inbox)
    address = request.device.links["browser"]
    with server, open_page(address, server.url(), inbox.fail) as page:
        watch = RoundsWatch((), page.processes, len(request.artifacts) + 1)
        for event in with_progress(_events(request, inbox), request, progress):
            watch.note(event)
        record = inbox.record()
        here = environment()
        packages = record.environment.packages | {page.browser.lower(): page.version}
        facts = _facts_here(record.facts, page) if record.facts else None
        return replace(
            record,
            environment=here.model_copy(update={"packages": packages}),
            facts=facts,
            conditions=watch.conditions,
        )


def _measure_served(
    request: DeviceRequest,
    served: Served,
    inbox: Inbox,
    progress: Progress,
    show_page: Callable[[str], None],
) -> RunnerRecord:
    """Measure in whatever browser a person opens the page in."""
    host, port = address_of(request.device)
    with RunnerServer(served, inbox, host, port) as server:
        show_page(server.url(_own_address() if host == EVERYWHERE else host))
        progress(f"waiting for the page on {request.device.name}", 0, 0)

        def waiting() -> None:
            progress(f"waiting for the page on {request.device.name}: open it again", 0, 0)

        for _ in with_progress(_events(request, inbox, waiting), request, progress):
            pass
    return inbox.record()


def _events(
    request: DeviceRequest, inbox: Inbox, waiting: Callable[[], None] | None = None
) -> Iterator[Event]:
    """The events of a page, until the time is up; `waiting` is called while there are none.

    Raises:
        DeviceError: the time is up, or the page failed.
    """
    limit_s = request.options.limit_s
    end = time.monotonic() + limit_s
    heard = time.monotonic()
    for event in inbox.events(WAIT_S):
        now = time.monotonic()
        if now > end:
            raise DeviceError(
                f"{request.device.name} did not complete the job in {limit_s / 60:g} minutes",
                "Give it more with --time-limit",
            )
        if event is not None:
            heard = now
            yield event
        elif waiting and now - heard > SILENT_S:
            waiting()


def _served(values: Mapping[str, Any], files: Mapping[str, Path] | None = None) -> Served:
    folders = {"runner": RUNNER, "packages": require_modules("web")}
    return Served(files=files or {}, folders=folders, values=values)


def _facts_here(facts: DeviceFacts, page: OpenPage) -> DeviceFacts:
    """A browser's facts with those of this machine, which a page does not know."""
    return facts.model_copy(
        update={
            "model": f"{page.browser} {page.version}",
            "soc": environment().cpu,
            "machine": platform.machine(),
            "os": platform.platform(),
            "cores": psutil.cpu_count() or 1,
            "memory_mb": round(psutil.virtual_memory().total / MIB),
        }
    )


def _log_failure(error: DeviceError) -> None:
    _log.info("%s", error)


def _own_address() -> str:
    """This machine's address in its network; its name where that cannot be told."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe_socket:
        try:
            probe_socket.connect(("192.0.2.1", 9))  # nothing is sent: only a route is looked up
        except OSError:
            return socket.gethostname()
        return str(probe_socket.getsockname()[0])
