"""Picking images: stratified, seeded, and the same wherever the files lie."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from edgenext.errors import DataError, UsageError


def stratified(
    by_class: Sequence[Sequence[str]],
    limit: int,
    seed: int,
    accept: Callable[[str], bool],
) -> list[str]:
    """Pick `limit` names, as evenly over the classes as can be.

    Every class has an order of its own, by the sha256 of seed and name; the classes take turns.
    A name that `accept` refuses is replaced by the next of its class. Fewer than `limit` come
    back when there are no more.

    Args:
        by_class: names by class; names are unique over all classes.
        limit: how many to pick.
        seed: another seed, another pick.
        accept: asked about a name just before it is picked.
    """

    def order(name: str) -> bytes:
        return hashlib.sha256(f"{seed}\n{name}".encode()).digest()

    queues = [sorted(names, key=order, reverse=True) for names in by_class if names]
    queues.sort(key=lambda q: order(q[-1]))  # who gets one more is drawn, too
    picked: list[str] = []
    while queues and len(picked) < limit:
        for queue in queues:
            if len(picked) == limit:
                break
            while queue:
                name = queue.pop()
                if accept(name):
                    picked.append(name)
                    break
        queues = [q for q in queues if q]
    return picked


def check_limit(limit: int | None) -> None:
    """Refuse a limit below 1.

    Raises:
        UsageError: it is.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"cannot use {limit} images: the limit is at least 1")


def too_few(data: str, limit: int, available: int, excluded: int) -> DataError:
    """The error for a limit above what there is."""
    where = f"{data} without the {excluded} that are left out" if excluded else data
    return DataError(f"{limit} images were asked for, {where} has only {available}")
