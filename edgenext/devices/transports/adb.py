"""Devices over adb: Android phones, and boards that run adbd."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Mapping
from typing import Any

from edgenext.devices.transport import LinkError, Reply, Transport
from edgenext.errors import DeviceError
from edgenext.schema import Device

ROOT = "/data/local/tmp/edgenext"
"""The folder that the shell may write in and run programs from on every Android."""
STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)
"""Packet kinds of adb's shell protocol, version 2: a byte, the length in 32 bits, the bytes."""
PACKET = 32 * 1024
"""Bytes of stdin in a packet."""
NET_S = 10.0
"""Timeout of a connection to a device over the network."""


def client() -> Any:
    """A client of the adb server, which is started where none runs.

    Raises:
        MissingDependencyError: adbutils is not installed.
    """
    from edgenext.formats.session import needed

    with needed("adbutils", "devices"):
        import adbutils
    port = os.environ.get("ANDROID_ADB_SERVER_PORT", "5037")
    return adbutils.AdbClient(port=int(port))


class AdbChannel:
    """One device of the adb server.

    Args:
        serial: as `adb devices` shows it, or host:port.
        root: the folder of our files on the device.
    """

    def __init__(self, serial: str, root: str = "") -> None:
        self._serial = serial
        self.where = f"adb {serial}"
        self.root = root or ROOT
        self._connected = False

    def call(self, command: str, stdin: bytes = b"", timeout_s: float = 60.0) -> Reply:
        """Run a shell command; see `Channel`."""
        server = client()
        import adbutils

        try:
            if not self._connected:
                self._connect(server, adbutils)
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
        """There is no connection to close; the next call looks for the device again."""
        self._connected = False

    def _connect(self, server: Any, adbutils: Any) -> None:
        """Find the device on the server; connect again to a device in the network.

        Raises:
            LinkError: the server does not see the device, or sees it offline.
            DeviceError: the device does not trust this computer.
        """
        state = states(server).get(self._serial)
        if state != "device" and ":" in self._serial:
            # the server may report "already connected" of a dead connection
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
        self._connected = True


def states(server: Any) -> dict[str, str]:
    """Serial number → state of all devices that the adb server sees."""
    return {info.serial: info.state for info in server.list()}


def exchange(link: Any, stdin: bytes) -> Reply:
    """Exchange packets of shell version 2: send stdin, then read up to the exit code.

    Raises:
        EOFError: the link ended before the exit code.
    """
    for offset in range(0, len(stdin), PACKET):
        piece = stdin[offset : offset + PACKET]
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


def open_channel(device: Device) -> AdbChannel:
    """The channel to a device of the adb server."""
    return AdbChannel(device.adb, device.root)


def device_fields(address: str, _options: Mapping[str, str]) -> dict[str, Any]:
    """A device of the adb server, which has its own check of who may connect."""
    return {"adb": address}


TRANSPORT = Transport(
    name="adb",
    help="Serial number or host:port, as `adb devices` shows it.",
    open_channel=open_channel,
    library=client,
    example="SERIAL",
    kinds=("android",),
    device_fields=device_fields,
)
