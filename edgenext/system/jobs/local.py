"""Jobs in processes of this machine; one that holds a lease has the machine to itself."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Collection, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from edgenext.errors import RuntimeCrashedError, SchedulerError
from edgenext.system.jobs.job import (
    COMPUTE,
    Job,
    JobError,
    Outcome,
    WorkerAnswer,
    WorkerTerms,
    named,
    worker_name,
)
from edgenext.system.jobs.worker import outcome_of, request_of
from edgenext.system.messages import MessageProcess
from edgenext.system.processes import package_path

COMMAND = (sys.executable, "-P", "-m", "edgenext.system.jobs.worker")
"""-P: a file called numpy.py in the user's folder is not imported."""
LIMIT_S = 24 * 3600.0
"""A job without an answer after this time hangs."""
ATTEMPTS = 3
"""How often a job is begun whose process dies."""
REMEDY = "It may have run out of memory: use fewer --workers"


class LocalExecutor:
    """Processes of this machine, with one thread each in the libraries that compute.

    Args:
        workers: how many.
        leases: that jobs will hold.
    """

    _terms: WorkerTerms

    def __init__(self, workers: int, leases: Collection[str]) -> None:
        self._workers = workers
        self._leases = frozenset((COMPUTE, *leases))
        self._threads = ThreadPoolExecutor(workers)
        self._idle: list[MessageProcess] = []
        self._shared: deque[tuple[Job, int]] = deque()
        self._leased: deque[tuple[Job, int]] = deque()
        self._running: dict[Future[Outcome], tuple[Job, int, MessageProcess]] = {}

    @property
    def capacity(self) -> int:
        """How many processes there are."""
        return self._workers

    def submit(self, job: Job) -> None:
        """Have a job done."""
        (self._leased if job.lease else self._shared).append((job, 1))
        self._begin()

    def next(self) -> Outcome:
        """The next job that has ended; waits for it.

        Raises:
            SchedulerError: a worker does not agree to the terms.
        """
        while True:
            ended, _ = wait(self._running, return_when=FIRST_COMPLETED)
            outcome = self._outcome(ended.pop())
            self._begin()
            if outcome:
                return outcome

    def on_each(self, function: str) -> list[WorkerAnswer]:
        """What a function returns in this process, which is on the machine of all workers."""
        return [WorkerAnswer(worker_name(), self._leases, named(function)())]

    def agree(self, terms: WorkerTerms) -> None:
        """Have every job done under these terms."""
        self._terms = terms

    def close(self) -> None:
        """End all processes."""
        for *_, process in self._running.values():
            process.end()
        for process in self._idle:
            process.end()
        self._threads.shutdown(cancel_futures=True)

    def _begin(self) -> None:
        """Begin what can begin: a job with a lease only alone, after all that need none."""
        while self._shared and len(self._running) < self._workers and not self._alone:
            self._begin_one(*self._shared.popleft())
        if self._leased and not self._running:
            self._begin_one(*self._leased.popleft())

    @property
    def _alone(self) -> bool:
        """Whether the job that runs has the machine to itself."""
        return any(job.lease for job, *_ in self._running.values())

    def _begin_one(self, job: Job, attempt: int) -> None:
        # here, not in the thread: a process ends with the thread that has started it
        process = self._idle.pop() if self._idle else _process()
        future = self._threads.submit(_answer, process, job, self._terms)
        self._running[future] = (job, attempt, process)

    def _outcome(self, future: Future[Outcome]) -> Outcome | None:
        """How a job has ended; None where its process died and it is begun again."""
        job, attempt, process = self._running.pop(future)
        try:
            outcome = future.result()
        except RuntimeCrashedError as e:
            if attempt < ATTEMPTS:
                (self._leased if job.lease else self._shared).append((job, attempt + 1))
                return None
            return Outcome(job.key, worker_name(), error=JobError.of(e))
        if outcome.mismatch:
            raise SchedulerError(f"this installation has changed meanwhile: {outcome.mismatch}")
        self._idle.append(process)
        return outcome


def _process() -> MessageProcess:
    name = "the process of the job"
    return MessageProcess(COMMAND, _variables(), name, REMEDY, LIMIT_S)


def _variables() -> Mapping[str, str]:
    """One thread: jobs are many, and sums must not depend on the number of cores."""
    libraries = ("OMP", "OPENBLAS", "MKL")
    own = {f"{library}_NUM_THREADS": "1" for library in libraries}
    return os.environ | own | {"PYTHONPATH": package_path()}


def _answer(process: MessageProcess, job: Job, terms: WorkerTerms) -> Outcome:
    return outcome_of(*process.request(request_of(job, terms)))
