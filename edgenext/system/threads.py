"""Threads: how many torch computes with, and calls in several of them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from edgenext.system.cpu import usable_cpus

OPENMP = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000"}
"""What idle threads of OpenMP do: wait for some 50 µs, then sleep.

Threads that never sleep make torch ten times slower on a machine that is shared. Those that sleep
at once have to be woken hundreds of times in each step of a training, which takes a fifth longer.
"""
AHEAD = 32
"""Items that `in_threads` takes at most before it gives the result of the first."""

T = TypeVar("T")
R = TypeVar("R")


def set_openmp() -> None:
    """Have idle threads of OpenMP sleep; torch must not be imported yet. The environment wins."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.update(OPENMP | os.environ)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Compute with `count` threads in a block; torch has one number for the whole process."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_threads(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """The results of a function of each item, in order, computed by a thread for each processor.

    Of very many items only a few are taken before their results are used. Matrix products take one
    thread each meanwhile: those of several would wait for each other.
    """
    from threadpoolctl import threadpool_limits

    pending: deque[Future[R]] = deque()
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(usable_cpus()) as executor:
        for item in items:
            pending.append(executor.submit(function, item))
            if len(pending) == AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
