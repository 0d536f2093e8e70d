"""A machine with one daemon that a client reaches over its network."""

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

HERE = Path(__file__).parent
PREFIX = "edgenext-peer-"


class Peer(Machine):
    """A machine whose daemon answers from the moment it is made.

    Args:
        root: the root it starts from.
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
            super().__init__(root, HERE / kind, kind)
            self.prepare()
            self.restart_daemon()
        except BaseException:
            self.close()
            raise

    @property
    def host(self) -> str:
        """Its address, of a network that only we have."""
        return self.address

    def prepare(self) -> None:
        """Put on the disk what the daemon reads."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether the daemon does."""
        raise NotImplementedError

    def close(self) -> None:
        """Switch it off and take everything away."""
        if hasattr(self, "_holder"):
            super().close()
        self._forget_daemon()
        self._folder.cleanup()

    def kill_daemon(self) -> None:
        """Kill the daemon and its sessions, not what they have started."""
        for pid, args in self.running():
            if Path(args[0].split(":")[0]).name in self.programs:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._forget_daemon()

    def restart_daemon(self) -> None:
        """Start the daemon, if it does not run, and wait until it answers."""
        if self._daemon is None or self._daemon.poll() is not None:
            self._daemon = self.start(*self.daemon, log=self.log)
        with contextlib.suppress(TimeoutError):
            wait_for(f"the start of {self.daemon[0]}", self._answers_or_ended)
            if self._daemon.poll() is None:
                return
        said = self.log.read_text(errors="replace").strip().splitlines() or ["nothing"]
        raise RuntimeError(f"{self.daemon[0]} does not answer; it said: {said[-1]}")

    def reboot(self) -> None:
        """Power off and on; back when the daemon answers."""
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
    """Folders of runs that were killed: all that is ever left of one."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        pid = folder.name.removeprefix(PREFIX).split("-")[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)
