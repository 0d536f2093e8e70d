"""Points of a sweep side by side: what each waits for, and jobs that are done once for all."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgenext.commands.sweep_store import SweepStore
from edgenext.errors import InputError
from edgenext.schema import Record, SweepPoint, SweepRow
from edgenext.system.jobs.job import Executor, Job, JobError

AHEAD = 2
"""Jobs that wait for a lease at the executor; all others wait here."""


@dataclass(frozen=True)
class Step:
    """A job, and the kind of its record."""

    job: Job
    kind: type[Record]


class JobFailedError(Exception):
    """A job that a point waits for has failed."""

    def __init__(self, error: JobError) -> None:
        super().__init__(str(error))
        self.error = error


Steps = Generator[Sequence[Step], Any, SweepRow]
"""A point while it is measured: it yields the steps that it waits for, gets their records in the
same order, and returns its row. `JobFailedError` is raised in it where a step has failed."""


@dataclass(eq=False)
class _Waiting:
    """A point that waits for steps."""

    point: SweepPoint
    steps: Steps
    needed: Sequence[Step] = ()
    missing: set[str] = field(default_factory=set)


class SweepEngine:
    """Measures points with an executor; what is in the store is not done again.

    Args:
        store: of the records.
        executor: does the jobs.
        on_row: told of every point that is finished.
        is_stale: whether the job of an earlier record is to be done again.
    """

    def __init__(
        self,
        store: SweepStore,
        executor: Executor,
        on_row: Callable[[SweepRow], None],
        is_stale: Callable[[Record], bool],
    ) -> None:
        self._store, self._executor, self._on_row = store, executor, on_row
        self._is_stale = is_stale
        self._queues: dict[str, deque[Step]] = {}
        self._submitted: Counter[str] = Counter()
        self._active: dict[str, Step] = {}
        self._waiting: dict[str, list[_Waiting]] = {}
        self._failed: dict[str, JobError] = {}
        self._rows: dict[SweepPoint, SweepRow] = {}
        self.done: set[str] = set()
        """Keys of jobs that were done."""
        self.reused: set[str] = set()
        """Keys of jobs whose records were there before."""

    def run(self, points: Mapping[SweepPoint, Steps]) -> list[SweepRow]:
        """The rows of points, in their order.

        Raises:
            OutputError: a record cannot be written.
            SchedulerError: the jobs cannot be done any more.
        """
        pending = iter(points.items())
        self._begin(pending)
        while self._active:
            self._submit()
            outcome = self._executor.next()
            step = self._active.pop(outcome.key)
            self._submitted[step.job.lease] -= 1
            if outcome.error:
                self._failed[outcome.key] = outcome.error
            else:
                self._store.write(outcome, step.kind)
                self.done.add(outcome.key)
            for waiting in self._waiting.pop(outcome.key):
                self._resume(waiting, outcome.key)
            self._begin(pending)
        return [self._rows[point] for point in points]

    def _begin(self, pending: Iterator[tuple[SweepPoint, Steps]]) -> None:
        """Begin as many points as keep the executor busy: each holds the lists of its images."""
        most = 2 * self._executor.capacity
        while sum(not step.job.lease for step in self._active.values()) < most:
            point, steps = next(pending, (None, None))
            if point is None or steps is None:
                return
            self._advance(_Waiting(point, steps), None)

    def _submit(self) -> None:
        """Give the executor as many jobs as it has room for."""
        for lease, steps in self._queues.items():
            most = AHEAD if lease else max(1, self._executor.capacity)
            while steps and self._submitted[lease] < most:
                self._submitted[lease] += 1
                self._executor.submit(steps.popleft().job)

    def _resume(self, waiting: _Waiting, key: str) -> None:
        waiting.missing.discard(key)
        if waiting.missing:
            return
        error = next((e for s in waiting.needed if (e := self._failed.get(s.job.key))), None)
        if error:
            self._advance(waiting, JobFailedError(error))
        else:
            self._advance(waiting, [self._record(step) for step in waiting.needed])

    def _advance(self, waiting: _Waiting, received: Any) -> None:
        """Have a point go on with what it waited for, until it waits again or is finished."""
        try:
            if isinstance(received, JobFailedError):
                waiting.needed = waiting.steps.throw(received)
            else:
                waiting.needed = waiting.steps.send(received)
        except StopIteration as end:
            self._rows[waiting.point] = end.value
            self._on_row(end.value)
            return
        waiting.missing = {step.job.key for step in waiting.needed if not self._is_known(step)}
        for step in waiting.needed:
            if step.job.key in waiting.missing:
                self._wait_for(step, waiting)
        if not waiting.missing:
            self._resume(waiting, "")

    def _wait_for(self, step: Step, waiting: _Waiting) -> None:
        key = step.job.key
        if key not in self._active:
            self._active[key] = step
            self._waiting[key] = []
            self._queues.setdefault(step.job.lease, deque()).append(step)
        if waiting not in self._waiting[key]:
            self._waiting[key].append(waiting)

    def _is_known(self, step: Step) -> bool:
        """Whether a job has failed, or its record is there."""
        key = step.job.key
        if key in self._active:
            return False
        if key in self._failed:
            return True
        record = self._store.read(key, step.kind)
        if record is None:
            return False
        if key not in self.done:
            if self._is_stale(record):
                return False
            self.reused.add(key)
        return True

    def _record(self, step: Step) -> Record:
        record = self._store.read(step.job.key, step.kind)
        if record is None:
            raise InputError(
                f"a record of {self._store.folder} was changed while the sweep ran",
                "Let nothing else write there, and start it again",
            )
        return record
