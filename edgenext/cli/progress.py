"""How far a command is, on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from edgenext.system.durations import duration
from edgenext.system.progress import Step, StepProgress

STARTING = "loading"
"""What is shown before the first task."""
FIRST_LINE_S = 20.0
"""Where stderr is no terminal, a task that lasts longer is named."""
NEXT_LINE_S = 60.0
"""And again after so long."""
IN_BYTES = ("fetching ", "sending ")
"""Tasks that count bytes."""
LINE = "…"
"""Lines of progress begin with it."""


@dataclass
class Shown:
    """The present step and task of a command."""

    step: Step | None = None
    task: str = STARTING
    done: int = 0
    total: int = 0
    since_s: float = field(default_factory=time.monotonic)

    def advance(self, task: str, done: int, total: int, /) -> bool:
        """Take over the state of a task; whether it is another than before."""
        is_new = task != self.task
        if is_new:
            self.since_s = time.monotonic()
        self.task, self.done, self.total = task, done, total
        return is_new

    @property
    def name(self) -> str:
        """The task, with the step that it is a part of and that step's number."""
        if self.step is None or self.step.total < 2:
            return self.task
        number = f"step {self.step.number} of {self.step.total}"
        task = self.task if self.task == self.step.name else f"{self.step.name}: {self.task}"
        return f"{number}: {task}"


class _Count(ProgressColumn):
    """How much is done, of how much."""

    def render(self, task: Task) -> Text:
        """Such as `3/5`."""
        return Text(_count(task.description, int(task.completed), int(task.total or 0)))


class _OfKnownLength(ProgressColumn):
    """A column that is empty for tasks of unknown length."""

    def __init__(self, column: ProgressColumn) -> None:
        super().__init__()
        self._column = column

    def render(self, task: Task) -> Text:
        """The column's own text, or nothing."""
        # a column renders a bar or a text, though its signature says a text
        return self._column(task) if task.total else Text("")  # type: ignore[return-value]


@contextlib.contextmanager
def shown_progress(console: Console, *, quiet: bool) -> Iterator[StepProgress]:
    """A progress that a person sees on a console; nothing with `quiet`."""
    if quiet:
        yield StepProgress()
    elif console.is_terminal:
        with _bar(console) as progress:
            yield progress
    else:
        with _lines(console) as progress:
            yield progress


@contextlib.contextmanager
def _bar(console: Console) -> Iterator[StepProgress]:
    """One bar, of the present task: it spins where the task cannot say how far it is."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        _OfKnownLength(BarColumn(bar_width=20)),
        _OfKnownLength(_Count()),
        TimeElapsedColumn(),
        _OfKnownLength(TextColumn("left:")),
        _OfKnownLength(TimeRemainingColumn()),
    )
    # results go to stdout while it is shown, which may be another place than the terminal
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as bars:
        shown, present = Shown(), [bars.add_task(STARTING, total=None)]

        def on_step(step: Step) -> None:
            shown.step = step

        def advance(task: str, done: int, total: int, /) -> None:
            if shown.advance(task, done, total):
                bars.remove_task(present.pop())
                present.append(TaskID(bars.add_task(shown.name, total=total or None)))
            bars.update(present[0], completed=done, total=total or None)

        yield StepProgress(advance, on_step)


@contextlib.contextmanager
def _lines(console: Console) -> Iterator[StepProgress]:
    """A line for each task that takes long, and another one each minute."""
    shown, ended = Shown(), threading.Event()

    def on_step(step: Step) -> None:
        shown.step = step

    def tell() -> None:
        named, due_s = shown.since_s, FIRST_LINE_S
        while not ended.wait(min(1.0, FIRST_LINE_S)):
            if shown.since_s != named:
                named, due_s = shown.since_s, FIRST_LINE_S
            elapsed_s = time.monotonic() - named
            if elapsed_s >= due_s:
                due_s = elapsed_s + NEXT_LINE_S
                console.print(_line(shown, elapsed_s), markup=False, soft_wrap=True)

    thread = threading.Thread(target=tell, name="progress", daemon=True)
    thread.start()
    try:
        yield StepProgress(shown.advance, on_step)  # type: ignore[arg-type]
    finally:
        ended.set()
        thread.join()


def _count(task: str, done: int, total: int) -> str:
    """Steps or mebibytes that are done, of how many."""
    if any(word in task for word in IN_BYTES):
        return f"{done / 2**20:.1f}/{total / 2**20:.1f} MiB"
    return f"{done}/{total}"


def _line(shown: Shown, elapsed_s: float) -> str:
    done = f", {_count(shown.name, shown.done, shown.total)}" if shown.total else ""
    return f"{LINE} {shown.name}{done}, for {duration(elapsed_s)}"
