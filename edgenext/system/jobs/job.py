"""A job: a function by name, what it takes, the trees that it reads, the lease that it holds."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from edgenext.errors import EdgenextError, OutputError
from edgenext.system.files import cache_folder
from edgenext.system.temporary import scratch_folder
from edgenext.system.trees import Files, TreeStore, read_tree


@dataclass(frozen=True)
class Job:
    """What is done once: jobs of one key give the same result."""

    key: str
    function: str
    """`package.module:name`; it takes a `JobInputs` and returns a dict of plain JSON."""
    arguments: Mapping[str, Any]
    """Plain JSON."""
    trees: tuple[str, ...] = ()
    """The sha256 of every tree that it reads."""
    lease: str = ""
    """What it must be alone on, such as a device; empty for a job beside which others may run."""


@dataclass(frozen=True)
class JobInputs:
    """What a job's function gets."""

    arguments: Mapping[str, Any]
    tree: Callable[[str], Path]
    """The folder of a tree by its sha256."""
    out: Path
    """An empty folder; what is in it at the end is part of the outcome."""


@dataclass(frozen=True)
class WorkerTerms:
    """What every worker must agree to before it does a job."""

    check: str
    """`package.module:name`: takes `expected` and the job's lease, returns what differs here, or an
    empty text."""
    expected: Mapping[str, Any]
    folders: tuple[str, ...] = ()
    """Folders of trees that a worker may see too, on this machine or a shared file system."""


@dataclass(frozen=True)
class JobError:
    """The error of a job: `kind` is the name of its class in `edgenext.errors`."""

    kind: str
    message: str
    remedy: str = ""
    exit_code: int = 1

    @staticmethod
    def of(error: Exception) -> JobError:
        """The facts of an error; one that nothing has foreseen is an internal error."""
        if not isinstance(error, EdgenextError):
            text = " ".join(f"{type(error).__name__}: {error}".split())
            error = EdgenextError(f"internal error, {text}")
        return JobError(type(error).__name__, error.message, error.remedy, error.exit_code)

    def __str__(self) -> str:
        return f"{self.message}. {self.remedy}" if self.remedy else self.message


@dataclass(frozen=True)
class Outcome:
    """How a job ended on a worker: with a `result` and `files`, or an `error`; or it did not begin.

    It did not begin where the worker has not the trees that it is `lacking`, or does not agree to
    the terms, for the reason `mismatch`. `started` and `ended` are seconds since 1970 by the
    worker's clock; between them it held the job's lease.
    """

    key: str
    worker: str
    result: dict[str, Any] | None = None
    files: Files = field(default_factory=dict)
    error: JobError | None = None
    lacking: tuple[str, ...] = ()
    mismatch: str = ""
    started: float = 0.0
    ended: float = 0.0


COMPUTE = "compute"
"""The lease of workers for jobs that need none; where none has it, all workers do these."""


@dataclass(frozen=True)
class WorkerAnswer:
    """What a function has returned on a worker, and the leases that the worker can give."""

    worker: str
    leases: frozenset[str]
    answer: Any


class Executor(Protocol):
    """Where jobs are done."""

    @property
    def capacity(self) -> int:
        """How many jobs without a lease it has room for."""
        ...

    def submit(self, job: Job) -> None:
        """Have a job done."""
        ...

    def next(self) -> Outcome:
        """The next job that has ended; waits for it.

        Raises:
            SchedulerError: the jobs cannot be done any more.
        """
        ...

    def on_each(self, function: str) -> list[WorkerAnswer]:
        """What a function without arguments returns on each worker.

        Raises:
            SchedulerError: a worker does not have this version of the function.
        """
        ...

    def agree(self, terms: WorkerTerms) -> None:
        """Have every job done under these terms; called before any is submitted."""
        ...

    def close(self) -> None:
        """End what runs, as far as it can be ended."""
        ...


def named(function: str) -> Any:
    """The function of a name, `package.module:name`."""
    module, _, name = function.partition(":")
    return getattr(import_module(module), name)


def worker_name() -> str:
    """This process by its machine and number."""
    return f"{socket.gethostname()}:{os.getpid()}"


def run_job(job: Job, terms: WorkerTerms, sent: Sequence[Files] = ()) -> Outcome:
    """Do a job in this process.

    Args:
        job: what is done.
        terms: what this process must agree to.
        sent: trees that this process lacks; they are kept in the cache.
    """
    worker = worker_name()
    if mismatch := named(terms.check)(terms.expected, job.lease):
        return Outcome(job.key, worker, mismatch=mismatch)
    try:
        cached = TreeStore(cache_folder("trees"))
        for files in sent:
            cached.add(files)
        stores = [*(TreeStore(Path(folder)) for folder in terms.folders), cached]
        places = {digest: _find(stores, digest) for digest in job.trees}
        trees = {digest: path for digest, path in places.items() if path}
        if lacking := tuple(digest for digest in job.trees if digest not in trees):
            return Outcome(job.key, worker, lacking=lacking)
        with lease(job.lease):
            return _timed(job, trees, worker)
    except Exception as e:  # noqa: BLE001 - whatever a job raises is its outcome
        return Outcome(job.key, worker, error=JobError.of(e))


def _timed(job: Job, trees: Mapping[str, Path], worker: str) -> Outcome:
    started = time.time()
    with scratch_folder() as out:
        try:
            result = named(job.function)(JobInputs(job.arguments, trees.__getitem__, out))
            files = read_tree(out)
        except Exception as e:  # noqa: BLE001 - whatever a job raises is its outcome
            error = JobError.of(e)
            return Outcome(job.key, worker, error=error, started=started, ended=time.time())
    return Outcome(job.key, worker, result, files, started=started, ended=time.time())


def _find(stores: Sequence[TreeStore], digest: str) -> Path | None:
    return next((path for store in stores if (path := store.find(digest))), None)


@contextlib.contextmanager
def lease(name: str) -> Iterator[None]:
    """Hold a lease in a block: no other process of this machine and cache holds it meanwhile.

    It is waited for as long as it takes, and ends with this process.

    Raises:
        OutputError: the cache cannot be written.
    """
    if not name:
        yield
        return
    from filelock import FileLock

    lock = cache_folder("leases") / f"{name}.lock"
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        guard = FileLock(lock, timeout=-1, thread_local=False)
        guard.acquire()
    except OSError as e:
        raise OutputError(f"cannot write {lock}: {e.strerror or e}") from e
    try:
        yield
    finally:
        guard.release()
