"""This machine as a device: its own shell."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess

from edgenext.devices.transports.channel import LinkError, Reply
from edgenext.system.files import cache_folder


class LocalChannel:
    """The shell of this machine."""

    where = "this machine"

    def __init__(self, root: str = "") -> None:
        self.root = root or str(cache_folder("device"))

    def call(self, command: str, stdin: bytes = b"", timeout_s: float = 60.0) -> Reply:
        """Run a line of shell; see `Channel`."""
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
        """Nothing is held."""
