"""Jobs on the workers of a Dask scheduler, whose resources are leases.

A worker is one process with one thread, `dask worker ADDRESS --nthreads 1`: libraries that convert
and measure share state in a process. What it declares with `--resources "orin=1"` only one job at
a time may use. Trees are sent with a job only to a worker that has said that it lacks them. A job
whose worker is lost is begun again by the scheduler, on another one.
"""

from __future__ import annotations

import logging
import queue
import socket
import time
from collections.abc import Collection, Mapping
from typing import Any

from edgenext.errors import MissingDependencyError, SchedulerError
from edgenext.system.jobs.job import (
    COMPUTE,
    Job,
    JobError,
    Outcome,
    WorkerAnswer,
    WorkerTerms,
    named,
    run_job,
)
from edgenext.system.trees import TreeStore, read_tree

CONNECT_S = 10.0
"""The longest wait for a scheduler."""
LOOK_S = 5.0
"""While nothing ends, the workers are looked at so often."""
PATIENCE_S = 60.0
"""So long there may be no worker that can go on, as while one is started again."""
START = "dask worker {address} --nthreads 1"


class ClusterExecutor:
    """The workers of a scheduler.

    Args:
        address: of the scheduler, such as `tcp://10.0.0.1:8786`.
        store: where the trees that workers lack are.
        leases: every lease that jobs will hold.
        shared: leases that several workers may have, each for its own machine.

    Raises:
        MissingDependencyError: Dask Distributed is not installed.
        SchedulerError: the scheduler does not answer, or its workers cannot do the jobs.
    """

    _terms: WorkerTerms

    def __init__(
        self, address: str, store: TreeStore, leases: Collection[str], shared: Collection[str] = ()
    ) -> None:
        self._address, self._store = address, store
        self._ended: queue.Queue[Any] = queue.Queue()
        self._jobs: dict[Any, Job] = {}
        self._client = _connect(address)
        try:
            workers = self._workers()
            require_usable(address, workers, leases, shared)
            self._leases = {name for facts in workers.values() for name in facts["resources"]}
        except BaseException:
            self.close()
            raise

    @property
    def capacity(self) -> int:
        """Twice the workers: none waits for its next job."""
        return 2 * max(1, len(self._workers()))

    def submit(self, job: Job) -> None:
        """Have a job done."""
        self._submit(job)

    def next(self) -> Outcome:
        """The next job that has ended; waits for it.

        Raises:
            SchedulerError: the scheduler or the workers are gone, or one does not agree to the
                terms.
        """
        while True:
            future = self._next_future()
            job = self._jobs.pop(future)
            outcome = self._outcome(future, job)
            if outcome.mismatch:
                raise SchedulerError(f"{outcome.worker} {outcome.mismatch}", "Stop this worker")
            if not outcome.lacking:
                return outcome
            self._submit(job, outcome.lacking)

    def on_each(self, function: str) -> list[WorkerAnswer]:
        """What a function without arguments returns on each worker.

        Raises:
            SchedulerError: a worker cannot import this version of it.
        """
        answers = self._client.run(named(function), on_error="return")
        workers, result = self._workers(), []
        for name, answer in answers.items():
            if isinstance(answer, Exception):
                raise SchedulerError(
                    f"the worker {name} does not have this version of edgenext: {_line(answer)}",
                    "Install the same there, or stop this worker",
                )
            resources = workers.get(name, {}).get("resources", ())
            result.append(WorkerAnswer(name, frozenset(resources), answer))
        return result

    def agree(self, terms: WorkerTerms) -> None:
        """Have every job done under these terms."""
        self._terms = terms

    def close(self) -> None:
        """Cancel what has not begun; what runs on a worker ends there."""
        if self._jobs:
            self._client.cancel(list(self._jobs), force=True)
        self._client.close(timeout=CONNECT_S)

    def _submit(self, job: Job, lacking: Collection[str] = ()) -> None:
        trees = (self._store.find(digest) for digest in lacking)
        sent = [read_tree(path) for path in trees if path]
        resource = job.lease or (COMPUTE if COMPUTE in self._leases else "")
        future = self._client.submit(
            run_job,
            job,
            self._terms,
            sent,
            key=f"edgenext-{job.key}{'-sent' if sent else ''}",
            resources={resource: 1} if resource else None,
            pure=False,
        )
        self._jobs[future] = job
        future.add_done_callback(self._ended.put)

    def _next_future(self) -> Any:
        lost_since: float | None = None
        while True:
            try:
                return self._ended.get(timeout=LOOK_S)
            except queue.Empty:
                if self._can_go_on():
                    lost_since = None
                    continue
            lost_since = lost_since or time.monotonic()
            if time.monotonic() - lost_since > PATIENCE_S:
                raise SchedulerError(
                    f"no worker at {self._address} is left that can go on",
                    f"Start one: {START.format(address=self._address)}",
                )

    def _can_go_on(self) -> bool:
        """Whether each job that has not ended may still be done by a worker.

        Raises:
            SchedulerError: the scheduler is gone.
        """
        if self._client.status != "running":
            raise self._gone()
        workers = self._workers()
        resources = {name for facts in workers.values() for name in facts["resources"]}
        leases = {job.lease for job in self._jobs.values() if job.lease}
        return bool(workers) and leases <= resources

    def _outcome(self, future: Any, job: Job) -> Outcome:
        """What a job's future holds.

        Raises:
            SchedulerError: it was lost with the scheduler, or a worker cannot import this package.
        """
        if future.status == "finished":
            outcome: Outcome = future.result()
            return outcome
        if future.status != "error":
            raise self._gone()
        error = future.exception()
        if type(error).__name__ == "KilledWorker":
            died = "every process that began it died"
            return Outcome(job.key, "", error=JobError("RuntimeCrashedError", died, "", 9))
        raise SchedulerError(f"a worker cannot do the jobs of this version: {_line(error)}")

    def _gone(self) -> SchedulerError:
        return SchedulerError(f"the scheduler at {self._address} does not answer any more")

    def _workers(self) -> dict[str, Any]:
        """The facts of all workers by name.

        Raises:
            SchedulerError: the scheduler is gone.
        """
        try:
            workers: dict[str, Any] = self._client.scheduler_info(n_workers=-1)["workers"]
        except (OSError, TimeoutError, KeyError) as e:  # a client that is not connected has none
            raise self._gone() from e
        return workers


def _connect(address: str) -> Any:
    try:
        import distributed
        from distributed.comm.addressing import get_address_host_port
    except ImportError as e:
        raise MissingDependencyError(
            f"distributed cannot be imported ({e})", "Install it: pip install 'edgenext[sweep]'"
        ) from e
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is in our errors
    try:
        # a client that is refused tries for a long time, and one of a wrong address never ends
        with socket.create_connection(get_address_host_port(address), timeout=CONNECT_S):
            pass
        client: Any = distributed.Client
        return client(address, timeout=CONNECT_S, set_as_default=False)
    except Exception as e:
        raise SchedulerError(
            f"no Dask scheduler answers at {address!r}: {_line(e)}",
            "Start one with `dask scheduler`, and give its address, such as tcp://10.0.0.1:8786",
        ) from e


def require_usable(
    address: str,
    workers: Mapping[str, Any],
    leases: Collection[str],
    shared: Collection[str],
) -> None:
    """Refuse workers with several threads, and leases that nobody has or that are not exclusive.

    Raises:
        SchedulerError: as above.
    """
    start = START.format(address=address)
    if not workers:
        raise SchedulerError(f"the scheduler at {address} has no workers", f"Start one: {start}")
    for name, facts in workers.items():
        if facts["nthreads"] != 1:
            raise SchedulerError(
                f"the worker {name} has {facts['nthreads']} threads, and jobs share the state of "
                "a process",
                f"Start it with one: {start}",
            )
    for lease in leases:
        holders = [facts for facts in workers.values() if lease in facts["resources"]]
        if not holders:
            remedy = f'Start one where it is: {start} --resources "{lease}=1"'
            raise SchedulerError(f"no worker at {address} has the resource {lease}", remedy)
        hosts = [facts["host"] if lease in shared else "" for facts in holders]
        amounts = [facts["resources"][lease] for facts in holders]
        if len(set(hosts)) < len(hosts) or any(amount != 1 for amount in amounts):
            raise SchedulerError(
                f"the resource {lease} would be used by {sum(amounts):g} jobs at a time",
                "Let one worker have it, once",
            )


def _line(error: BaseException | None) -> str:
    """An error on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
