"""A machine with one daemon, which clients reach over its network."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import psutil
from peers.machine import Machine, wait_for

FOLDER = Path(__file__).parent
PREFIX = "edgenext-peer-"


class Peer(Machine):
    """A machine whose daemon answers once it is constructed.

    Args:
        root: its root file system.
        kind: its name, and the folder with the files that are copied over the root.
    """

    daemon: tuple[str, ...]
    """The daemon's command line."""

    programs: tuple[str, ...]
    """Names of the programs that are the daemon and its sessions."""

    port: int

    def __init__(self, root: Path, kind: str) -> None:
        self._daemon: subprocess.Popen[bytes] | None = None
        _remove_leftovers()
        self._folder = tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-{kind}-")
        self.folder = Path(self._folder.name)
        self.log = self.folder / "daemon.log"
        try:
            super().__init__(root, FOLDER / kind, kind)
            self.prepare()
            self.restart_daemon()
        except BaseException:
            self.close()
            raise

    @property
    def host(self) -> str:
        """Its address, in a network of the tests."""
        return self.address

    def prepare(self) -> None:
        """Write the files of the daemon."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether the daemon answers."""
        raise NotImplementedError

    def close(self) -> None:
        """Switch it off and remove all of it."""
        if hasattr(self, "_holder"):
            super().close()
        self._forget_daemon()
        self._folder.cleanup()

    def kill_daemon(self) -> None:
        """Kill the daemon and its sessions, but not the programs that they started."""
        for pid, args in self.running():
            if Path(args[0].split(":")[0]).name in self.programs:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._forget_daemon()

    def restart_daemon(self) -> None:
        """Start the daemon unless it runs, and wait until it answers."""
        if self._daemon is None or self._daemon.poll() is not None:
            self._daemon = self.start(*self.daemon, log=self.log)
        with contextlib.suppress(TimeoutError):
            wait_for(f"the start of {self.daemon[0]}", self._answers_or_ended)
            if self._daemon.poll() is None:
                return
        lines = self.log.read_text(errors="replace").strip().splitlines() or ["nothing"]
        raise RuntimeError(f"{self.daemon[0]} does not answer; its last line: {lines[-1]}")

    def reboot(self) -> None:
        """Switch it off and on, and wait until the daemon answers."""
        super().reboot()
        self._forget_daemon()
        self.restart_daemon()

    def _answers_or_ended(self) -> bool:
        assert self._daemon is not None
        return self._daemon.poll() is not None or self.answers()

    def _forget_daemon(self) -> None:
        if self._daemon is not None:
            self._daemon.wait(10)
            self._daemon = None


def _remove_leftovers() -> None:
    """Remove the folders of runs that were killed: nothing else is left of them."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX).split("-")[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)
