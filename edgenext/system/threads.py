"""Threads: how many torch computes with, and calls in several of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from edgenext.system.cpu import usable_cpus

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

    Matrix products then take one thread each: those of several would wait for each other.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"), ThreadPoolExecutor(usable_cpus()) as executor:
        yield from executor.map(function, items)


def prefetched(function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
    """The results of a function of each item, in order; a thread computes one ahead."""
    with ThreadPoolExecutor(1) as executor:
        pending: Future[R] | None = None
        for item in items:
            following = executor.submit(function, item)
            if pending is not None:
                yield pending.result()
            pending = following
        if pending is not None:
            yield pending.result()
