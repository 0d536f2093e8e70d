"""What a page posts: events and logits, each checked before it counts."""

from __future__ import annotations

import hashlib
import math
import queue
import secrets
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgenext.devices.job import DeviceJob
from edgenext.devices.protocol import (
    DoneEvent,
    Event,
    LogitsEvent,
    RecordBuilder,
    RunnerRecord,
    StartEvent,
    parse_line,
)
from edgenext.errors import DeviceError
from edgenext.system.files import write_bytes

MAX_POST = 1 << 20
"""Bytes of events that are read at once: 400 samples take 8,000."""


class RefusedPostError(Exception):
    """A post that does not count; `status` is HTTP's."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class Expected(NamedTuple):
    """What a job's results must be of: its images, and the classes of its artifacts by sha256."""

    images: int
    classes: Mapping[str, int]


class Inbox:
    """The results of one job, from the page that claimed it last.

    Args:
        job: the job.
        expected: the number of images, and of classes by the artifact's sha256.
        folder: where logits are written, `logits-<sha256>.f32`.
        claims: how many pages may claim the job, one after the other.
    """

    def __init__(
        self, job: DeviceJob, expected: Expected, folder: Path, claims: float = math.inf
    ) -> None:
        self._job, self._expected, self._folder = job, expected, folder
        self._claims = claims
        self._builder = RecordBuilder()
        self._events: queue.Queue[Event | DeviceError] = queue.Queue()
        self._session = ""
        self._is_done = False
        self._digests: dict[str, str] = {}
        self._lines = hashlib.sha256()
        self._lock = threading.Lock()
        self.refused = 0
        """How many posts were refused."""
        self.first_refusal = ""

    def claim(self) -> str:
        """The name by which a page posts from now on; the page before it is refused.

        Raises:
            RefusedPostError: the job is done, or belongs to another page.
        """
        with self._lock:
            if self._is_done or self._claims < 1:
                raise self._refusal(409, "the job is done, or belongs to another page")
            self._claims -= 1
            # all is measured again
            self._builder, self._digests, self._lines = RecordBuilder(), {}, hashlib.sha256()
            self._session = secrets.token_urlsafe(16)
            return self._session

    def post_events(self, session: str, body: bytes) -> None:
        """Take events, one JSON object a line: all of them, or those before the first bad one.

        Raises:
            RefusedPostError: of another page, or not what the runner would write now.
        """
        with self._lock:
            self._check_session(session)
            for line in body.splitlines():
                try:
                    event = parse_line(line.decode(errors="replace"))
                    self._check(event)
                    self._builder.add(event)
                except DeviceError as e:
                    raise self._refusal(422, e.message) from e
                self._lines.update(line + b"\n")
                self._is_done = self._is_done or isinstance(event, DoneEvent)
                self._events.put(event)

    def post_logits(self, session: str, sha256: str, digest: str, body: bytes) -> None:
        """Take the logits of an artifact: N×K float32, little-endian.

        Args:
            session: of the page.
            sha256: of the artifact.
            digest: the sha256 of the body, as the page computed it.
            body: the bytes.

        Raises:
            RefusedPostError: of another page or artifact, or other bytes than the page sent; or
                they have another number of values than the job's, or not finite ones.
        """
        with self._lock:
            self._check_session(session)
            size = self.logits_size(sha256)
            if not size:
                raise self._refusal(404, f"no logits are wanted of {sha256[:16]!r}")
            if len(body) != size:
                raise self._refusal(422, f"{len(body)} bytes of logits instead of {size}")
            if hashlib.sha256(body).hexdigest() != digest:
                raise self._refusal(422, "the logits have another sha256 than was sent with them")
            if not np.isfinite(np.frombuffer(body, "<f4")).all():
                raise self._refusal(
                    422, "logits that are not finite: the artifact overflows there; export fp32"
                )
            write_bytes(self._folder / f"logits-{sha256}.f32", body)
            self._digests[sha256] = digest

    def logits_size(self, sha256: str) -> int:
        """The bytes of an artifact's logits; 0 if none are wanted."""
        return 4 * self._expected.images * self._expected.classes.get(sha256, 0)

    def refuse(self, status: int, reason: str) -> RefusedPostError:
        """A refusal that is counted."""
        with self._lock:
            return self._refusal(status, reason)

    def fail(self, error: DeviceError) -> None:
        """End `events` with an error, from any thread."""
        self._events.put(error)

    def events(self, wait_s: float) -> Iterator[Event | None]:
        """The events as they come, to the last; None after each `wait_s` seconds without one.

        Raises:
            DeviceError: as given to `fail`.
        """
        while True:
            try:
                event = self._events.get(timeout=wait_s)
            except queue.Empty:
                yield None
                continue
            if isinstance(event, DeviceError):
                raise event
            yield event
            if isinstance(event, DoneEvent):
                return

    def record(self) -> RunnerRecord:
        """The record of all events that were taken."""
        with self._lock:
            return self._builder.record()

    def _check_session(self, session: str) -> None:
        if not self._session or not secrets.compare_digest(
            session.encode(), self._session.encode()
        ):
            raise self._refusal(403, "of a page that has not claimed the job, or not last")
        if self._is_done:
            raise self._refusal(409, "the job is done")

    def _check(self, event: Event) -> None:
        """Refuse an event that is not of this job.

        Raises:
            DeviceError: as above.
        """
        if isinstance(event, StartEvent) and event.job != self._job.job:
            raise DeviceError("events of another job")
        artifact = getattr(event, "artifact", None)
        if artifact is not None and artifact not in self._expected.classes:
            raise DeviceError("an event of an artifact that is not in the job")
        if isinstance(event, LogitsEvent) and event.sha256 != self._digests.get(
            event.artifact, None if event.done < event.total else ""
        ):
            raise DeviceError("logits were not sent before their event")
        if isinstance(event, DoneEvent):
            self._check_complete()
            if event.sha256 != self._lines.hexdigest():
                raise DeviceError("events are not all those that the page sent")

    def _check_complete(self) -> None:
        """Refuse the end of a job that is not done.

        Raises:
            DeviceError: as above.
        """
        measured = self._builder.record().artifacts
        for artifact in self._job.artifacts:
            rounds = len(measured[artifact.sha256].rounds) if artifact.sha256 in measured else 0
            if rounds < self._job.rounds:
                raise DeviceError(f"{rounds} of {self._job.rounds} rounds of {artifact.name}")
            if self._expected.images and artifact.sha256 not in self._digests:
                raise DeviceError(f"no logits of {artifact.name}")

    def _refusal(self, status: int, reason: str) -> RefusedPostError:
        self.refused += 1
        self.first_refusal = self.first_refusal or reason
        return RefusedPostError(status, reason)
