"""Works that take turns in this process while others of them wait for processes of their own.

What computes here shares torch's settings and the output's descriptors, so one work at a time does.
A work that waits for a process that it has started, such as a converter, gives its turn to another.

A work of no use any more ends where it waits and where it tells of its progress, and nowhere else:
an exception raised in it at any line could come between a process and the variable that holds it.
"""

from __future__ import annotations

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


class Ended(BaseException):
    """Raised in a work that is of no use any more."""


class _Turns:
    """The turn of a group of works, and the processes that they wait for.

    Of the works that want the turn, the first in order gets it.
    """

    def __init__(self, works: int) -> None:
        self._wanting = set(range(works))
        self._taken = False
        self._ended = False
        self._changed = threading.Condition()
        self._processes: set[subprocess.Popen[bytes]] = set()

    def take(self, work: int) -> None:
        """Wait for the turn.

        Raises:
            Ended: the works were ended.
        """
        with self._changed:
            self._wanting.add(work)
            while not self._ended and (self._taken or min(self._wanting) != work):
                self._changed.wait()
            self.raise_if_ended()
            self._wanting.discard(work)
            self._taken = True

    def give(self) -> None:
        """End this work's turn."""
        with self._changed:
            self._taken = False
            self._changed.notify_all()

    def start_waiting(self, process: subprocess.Popen[bytes]) -> None:
        """Have a process killed when the works end."""
        with self._changed:
            self._processes.add(process)
            if self._ended:
                process.kill()

    def stop_waiting(self, process: subprocess.Popen[bytes]) -> None:
        """Forget a process that has ended."""
        with self._changed:
            self._processes.discard(process)

    def end(self) -> None:
        """Kill the processes, and raise `Ended` where a work waits or tells of its progress."""
        with self._changed:
            self._ended = True
            for process in self._processes:
                process.kill()
            self._changed.notify_all()

    def raise_if_ended(self) -> None:
        """Raise `Ended` if the works were ended."""
        if self._ended:
            raise Ended


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
        turns.take(i)
        try:
            return works[i]()
        finally:
            turns.give()

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
    turns.start_waiting(process)
    turns.give()
    try:
        yield
    finally:
        turns.stop_waiting(process)
        turns.take(_current.work)


def raise_if_ended() -> None:
    """Raise `Ended` in a work that was ended."""
    if _current.turns is not None:
        _current.turns.raise_if_ended()
