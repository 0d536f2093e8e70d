"""The four verbs with which anything is done on a device: probe, push, run, pull."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgenext.schema import DeviceFacts


@dataclass(frozen=True)
class Task:
    """One program on a device.

    `job` is the folder it runs in; the same name again goes on with what was begun. `follow` is
    the file there whose lines come back as they are written. After `limit_s` it is ended.
    """

    job: str
    argv: Sequence[str]
    follow: str
    limit_s: float = 3600.0
    clocks: str = ""
    """The command that locks the device's clocks while the program runs; empty to leave them."""


class Transport(Protocol):
    """A way to one device. Every verb survives a link that breaks for a while."""

    where: str
    """How messages call the device."""

    def probe(self, python: str) -> DeviceFacts:
        """What the device says of itself and of one of its interpreters.

        Raises:
            DeviceError: it cannot be reached, or answers nonsense.
        """
        ...

    def push(self, source: Path) -> str:
        """Bring a file there, unless it is; its path there.

        Raises:
            DeviceError: it cannot be reached, or has no room; no piece is left there.
        """
        ...

    def run(self, task: Task) -> Iterator[str]:
        """Run a program there and yield the lines it writes, to the end.

        However the caller stops listening, the program ends.

        Raises:
            DeviceError: it cannot be reached, the program failed, or took too long.
        """
        ...

    def pull(self, job: str, name: str, target: Path) -> None:
        """Fetch a file of a job's folder, whole or not at all.

        Raises:
            DeviceError: it cannot be reached, or there is no such file.
        """
        ...
