"""Progress of long-running work: one protocol for all of it, and the steps of a command."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Protocol

from edgenext.system.turns import raise_if_ended


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


@dataclass(frozen=True)
class Step:
    """A step of a command: its number from 1, of how many, and the task that it began with."""

    number: int
    total: int
    name: str


def no_step(_: Step) -> None:
    """Show no step."""


class StepProgress:
    """Progress that also says which step of a command a task belongs to.

    Args:
        progress: told of every task.
        on_step: told of a step before the first of its tasks.
    """

    def __init__(
        self, progress: Progress = quiet, on_step: Callable[[Step], None] = no_step
    ) -> None:
        self._progress, self._on_step = progress, on_step
        self._plan: tuple[str, ...] = ()
        self._number = 0

    def __call__(self, task: str, done: int, total: int, /) -> None:
        """Report the state of a task; see `Progress`. A work that was ended ends here."""
        raise_if_ended()
        number = self._number_of(task)
        if number != self._number:
            self._number = number
            self._on_step(Step(number, len(self._plan), task))
        self._progress(task, done, total)

    @contextlib.contextmanager
    def steps(self, *plan: str) -> Iterator[None]:
        """A block whose steps are known: names of tasks or patterns of them, in order.

        Tasks that no name fits belong to the step before them. In the block of another plan, this
        one counts for nothing: its tasks belong to a step of the other.
        """
        if self._plan:
            yield
            return
        self._plan, self._number = plan, 0
        try:
            yield
        finally:
            self._plan, self._number = (), 0

    def _number_of(self, task: str) -> int:
        """The number of the present step or a later one that a task fits; else the present one."""
        for number, name in enumerate(self._plan, 1):
            if number >= self._number and fnmatchcase(task, name):
                return number
        return self._number
