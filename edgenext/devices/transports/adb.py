"""Devices over adb: Android phones, and boards that run adbd."""

from __future__ import annotations

import contextlib
import os
import struct
from typing import Any

from edgenext.devices.transports.channel import LinkError, Reply
from edgenext.errors import DeviceError
from edgenext.formats.session import needed

ROOT = "/data/local/tmp/edgenext"
"""The folder that every Android lets the shell write in and run from."""
STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)
"""Kinds of packet of adb's shell protocol, version 2: a byte, the length in 32 bits, the bytes."""
PACKET = 32 * 1024
"""Bytes of stdin a packet."""
NET_S = 10.0
"""To reach a device over the network."""


def client() -> Any:
    """A client of the adb server; the server is started where none runs.

    Raises:
        MissingDependencyError: adbutils is not installed.
    """
    with needed("adbutils", "devices"):
        import adbutils
    port = os.environ.get("ANDROID_ADB_SERVER_PORT", "5037")
    return adbutils.AdbClient(port=int(port))


class AdbChannel:
    """One device of the adb server.

    Args:
        serial: as `adb devices` shows it, or host:port.
        root: folder of our files there.
    """

    def __init__(self, serial: str, root: str = "") -> None:
        self._serial = serial
        self.where = f"adb {serial}"
        self.root = root or ROOT
        self._reached = False

    def call(self, command: str, stdin: bytes = b"", timeout_s: float = 60.0) -> Reply:
        """Run a line of shell; see `Channel`."""
        server = client()
        import adbutils

        try:
            if not self._reached:
                self._reach(server, adbutils)
            device = server.device(self._serial)
            with device.open_transport(timeout=timeout_s) as link:
                link.send_command(f"shell,v2,raw:{command}")
                link.check_okay()
                return exchange(link, stdin)
        except adbutils.AdbTimeout as e:
            self.close()
            raise LinkError(f"no answer for {timeout_s:g} s") from e
        except (adbutils.AdbError, OSError, EOFError) as e:
            self.close()
            raise LinkError(str(e) or type(e).__name__) from e

    def close(self) -> None:
        """Nothing is held; the next call looks for the device again."""
        self._reached = False

    def _reach(self, server: Any, adbutils: Any) -> None:
        """Find the device among those of the server; one of the network is connected anew.

        Raises:
            LinkError: it is not there, or not now.
            DeviceError: it does not trust this computer.
        """
        state = states(server).get(self._serial)
        if state != "device" and ":" in self._serial:
            # "already connected" may be said of a connection that is dead
            with contextlib.suppress(adbutils.AdbError):
                server.disconnect(self._serial)
            server.connect(self._serial, timeout=NET_S)
            state = states(server).get(self._serial)
        if state == "unauthorized":
            raise DeviceError(
                f"{self.where} does not trust this computer", "Unlock its screen and allow it"
            )
        if state != "device":
            raise LinkError("it is offline" if state else "adb sees no such device")
        self._reached = True


def states(server: Any) -> dict[str, str]:
    """Serial number → state of everything that the adb server sees."""
    return {info.serial: info.state for info in server.list()}


def exchange(link: Any, stdin: bytes) -> Reply:
    """Speak shell version 2 over an open link: all of stdin, then everything up to the exit code.

    Raises:
        EOFError: it ended before there was one.
    """
    for at in range(0, len(stdin), PACKET):
        piece = stdin[at : at + PACKET]
        link.conn.sendall(struct.pack("<BI", STDIN, len(piece)) + piece)
    link.conn.sendall(struct.pack("<BI", CLOSE_STDIN, 0))
    parts: dict[int, list[bytes]] = {STDOUT: [], STDERR: []}
    while True:
        kind, length = struct.unpack("<BI", link.read_exact(5))
        data = link.read_exact(length)
        if kind == EXIT:
            err = b"".join(parts[STDERR]).decode(errors="replace")
            return Reply(data[0], b"".join(parts[STDOUT]), err)
        if kind in parts:
            parts[kind].append(data)
