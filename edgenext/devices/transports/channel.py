"""What every link to a device can do: run a line of shell there, and break."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Reply:
    """What a command left: its exit code, and what it printed."""

    code: int
    out: bytes
    err: str


class LinkError(Exception):
    """The link broke, or nothing came over it in time: what was said may have been done or not."""


class Channel(Protocol):
    """A link to one device. It is opened by the first call, and again by the next after a break."""

    where: str
    """How messages call the device: `ssh nano@192.168.55.1`."""
    root: str
    """The folder there that all our files are kept in."""

    def call(self, command: str, stdin: bytes = b"", timeout_s: float = 60.0) -> Reply:
        """Run a line of shell to its end.

        Args:
            command: every argument in it quoted.
            stdin: what the command reads.
            timeout_s: to wait for its end; it may run on there.

        Raises:
            LinkError: the link broke or nothing came in time; another call may succeed.
            DeviceError: there is no such device, or it does not let us in.
        """
        ...

    def close(self) -> None:
        """Let go of the link."""
        ...
