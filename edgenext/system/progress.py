"""How work reports how far it is: one protocol for everything that takes time."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called as work goes on."""

    def __call__(self, task: str, done: int, total: int, /) -> None:
        """Report a task.

        Args:
            task: what is being done, such as `calibrating`.
            done: steps that are done.
            total: steps there are; 0 where that is not known.
        """


def quiet(task: str, done: int, total: int, /) -> None:
    """No progress."""
