"""Threads: how many torch computes with, and calls in several of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from edgenext.system.cpu import usable_cpus

AHEAD = 32
"""Items that `in_threads` takes at most before it gives the result of the first."""

T = TypeVar("T")
R = TypeVar("R")


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
