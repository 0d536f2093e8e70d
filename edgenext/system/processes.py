"""Child processes: what they import, how they end with their parent, how they died."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from edgenext import errors

EXIT_S = 5.0
"""How long a process may take to end."""
QUOTED_LINES = 3
"""Lines of a dead process's output that its error quotes."""


def package_path() -> str:
    """`PYTHONPATH` with this package first, and then what is on it already."""
    package = str(Path(errors.__file__).parents[1])
    return os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])


def die_with_parent() -> None:
    """Have the kernel kill this process with its parent: one in native code would stay."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        prctl: Any = ctypes.CDLL(None).prctl
        prctl(pr_set_pdeathsig, signal.SIGKILL)


def signal_name(number: int) -> str:
    """The name of a signal, such as SIGSEGV."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Death(NamedTuple):
    """How a process ended that should have answered."""

    cause: str
    """Why, and the last lines of its output: "was killed by SIGSEGV: …"."""
    out_of_memory: bool
    """Whether it may have been killed for its memory."""


class Deadline:
    """Kills a process that gives no answer in time.

    Args:
        process: whose answers are waited for.
        timeout_s: the longest wait for one.
    """

    def __init__(self, process: subprocess.Popen[Any], timeout_s: float) -> None:
        self._process, self.timeout_s = process, timeout_s
        self._passed = False

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """A block that waits for one answer."""
        timer = threading.Timer(self.timeout_s, self._kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _kill(self) -> None:
        self._passed = True
        self._process.kill()

    def death(self, log: IO[bytes]) -> Death:
        """How the process ended without an answer; `log` is the file of its output."""
        try:
            code = self._process.wait(EXIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if self._passed:
            cause = f"gave no answer for {self.timeout_s:g} s"
        elif code < 0:
            cause = f"was killed by {signal_name(-code)}"
        else:
            cause = f"ended with exit code {code}"
        log.seek(0)
        lines = log.read().decode(errors="replace").splitlines()
        output = " | ".join([line.strip() for line in lines if line.strip()][-QUOTED_LINES:])
        killed = code == -signal.SIGKILL and not self._passed
        return Death(f"{cause}: {output}" if output else cause, killed)


def end_process(process: subprocess.Popen[Any]) -> None:
    """Kill a process that has no state to save, and close its pipes."""
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe:
            with contextlib.suppress(OSError):  # closing flushes what nobody reads
                pipe.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(EXIT_S)
