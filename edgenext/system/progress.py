"""Progress of long-running work: one protocol for all of it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called repeatedly as work proceeds."""

    def __call__(self, task: str, done: int, total: int, /) -> None:
        """Report the state of a task.

        Args:
            task: the work, such as `calibrating`.
            done: steps completed.
            total: steps in all; 0 if unknown.
        """


def quiet(task: str, done: int, total: int, /) -> None:
    """Report nothing."""
