"""This machine as a device: its own shell."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from edgenext.devices.transport import LinkError, Reply, Transport
from edgenext.schema import Device
from edgenext.system.files import cache_folder


class LocalChannel:
    """The shell of this machine."""

    where = "this machine"

    def __init__(self, root: str = "") -> None:
        self.root = root or str(cache_folder("device"))

    def call(self, command: str, stdin: bytes = b"", timeout_s: float = 60.0) -> Reply:
        """Run a shell command; see `Channel`."""
        process = subprocess.Popen(
            ("/bin/sh", "-c", command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(stdin, timeout=timeout_s)
        except subprocess.TimeoutExpired as e:
            raise LinkError(f"no answer for {timeout_s:g} s") from e
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        return Reply(process.returncode, out, err.decode(errors="replace"))

    def close(self) -> None:
        """There is no connection to close."""


def open_channel(device: Device) -> LocalChannel:
    """This machine's shell."""
    return LocalChannel(device.root)


def device_fields(_address: str, _options: Mapping[str, str]) -> dict[str, Any]:
    """This machine, with the interpreter that runs edgenext."""
    return {"local": True, "python": sys.executable}


TRANSPORT = Transport(
    name="local",
    help="This machine itself.",
    open_channel=open_channel,
    device_fields=device_fields,
)
