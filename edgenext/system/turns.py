"""Works that take turns in this process while others of them wait for processes of their own.

What computes here shares torch's settings and the output's descriptors, so one work at a time does.
A work that waits for a process that it has started, such as a converter, gives its turn to another.
"""

from __future__ import annotations

import ctypes
import subprocess
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from edgenext.system.cpu import usable_cpus

R = TypeVar("R")

GIB = 2**30
MEMORY = 3 * GIB
"""Free memory for each work: what a converter takes, and the copy of the network here."""
WAKE_S = 1.0
"""After as long a work that waits for its turn sees that it was ended."""


class Ended(BaseException):
    """Raised in a work that is of no use any more."""


class _Turns:
    """The turn of a group of works, their threads, and the processes that they wait for.

    Of the works that want the turn, the first in order gets it.
    """

    def __init__(self, works: int) -> None:
        self._wanting = set(range(works))
        self._taken = False
        self._changed = threading.Condition()
        self.threads: set[int] = set()
        self.processes: set[subprocess.Popen[bytes]] = set()

    def take(self, work: int) -> None:
        """Wait for the turn."""
        with self._changed:
            self._wanting.add(work)
            while self._taken or min(self._wanting) != work:
                self._changed.wait(WAKE_S)
            self._wanting.discard(work)
            self._taken = True

    def give(self) -> None:
        """End this work's turn."""
        with self._changed:
            self._taken = False
            self._changed.notify_all()

    def end(self) -> None:
        """Kill the processes, and raise `Ended` in the threads at their next line of Python."""
        for process in list(self.processes):
            process.kill()
        for thread in list(self.threads):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread), ctypes.py_object(Ended)
            )


class _Current(threading.local):
    turns: _Turns | None = None
    work = 0


_current = _Current()


def works_at_once() -> int:
    """How many works processors and free memory are enough for; at least 1."""
    import psutil

    return max(1, min(usable_cpus(), int(psutil.virtual_memory().available // MEMORY)))


def in_turns(
    works: Sequence[Callable[[], R]], at_once: int | None = None
) -> Generator[R, None, None]:
    """The results of works, in their order; one is computed while others wait for processes.

    Where a work raises, or the caller stops, as by Ctrl-C, the others are ended.

    Args:
        works: each is called once, in order.
        at_once: how many have begun and not ended; None: as many as this machine has room for.
    """
    at_once = works_at_once() if at_once is None else at_once
    if min(at_once, len(works)) < 2:
        yield from (work() for work in works)
        return
    turns = _Turns(len(works))

    def call(i: int) -> R:
        _current.turns, _current.work = turns, i
        thread = threading.get_ident()
        turns.threads.add(thread)
        try:
            turns.take(i)
            try:
                return works[i]()
            finally:
                turns.give()
        finally:
            turns.threads.discard(thread)

    with ThreadPoolExecutor(at_once) as executor:
        futures = [executor.submit(call, i) for i in range(len(works))]
        try:
            for future in futures:
                yield future.result()
        except BaseException:
            for future in futures:
                future.cancel()
            turns.end()
            raise


@contextmanager
def waiting_for(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """A block that only waits for a process: another work may compute meanwhile."""
    turns = _current.turns
    if turns is None:
        yield
        return
    turns.processes.add(process)
    turns.give()
    try:
        yield
    finally:
        turns.take(_current.work)
        turns.processes.discard(process)
