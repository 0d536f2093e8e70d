"""Class-stratified, seeded subsets that do not depend on where the files are stored."""

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
    """Pick `limit` names, as evenly over the classes as possible.

    The names of a class are ordered by the sha256 of seed and name; the classes take turns.

    Args:
        by_class: names by class; names are unique over all classes.
        limit: the number of names to pick.
        seed: another seed gives another subset.
        accept: whether a name may be picked; called just before. A rejected name is replaced by
            the next one of its class.

    Returns:
        The picked names; fewer than `limit` if too few are accepted.
    """

    def order(name: str) -> bytes:
        return hashlib.sha256(f"{seed}\n{name}".encode(errors="surrogateescape")).digest()

    queues = [sorted(names, key=order, reverse=True) for names in by_class if names]
    queues.sort(key=lambda q: order(q[-1]))  # also randomises which classes get one more
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
    """Check that a limit, if there is one, is at least 1.

    Raises:
        UsageError: it is below 1.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"the number of images must be at least 1, not {limit}")


def too_few(data: str, limit: int, available: int, excluded: int) -> DataError:
    """The error for a limit above the number of available images."""
    excluding = f" besides {excluded} excluded ones" if excluded else ""
    remedy = f"Ask for {available} at most" if available else "Add images"
    return DataError(
        f"{limit} images were requested, {data} has only {available}{excluding}", remedy
    )
