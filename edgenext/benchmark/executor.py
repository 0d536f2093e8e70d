"""Worker processes: starting them, exchanging messages with them, and ending them in every case."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

import psutil

from edgenext import errors
from edgenext.benchmark.worker import LoadedArtifact, WorkerJob
from edgenext.errors import EdgenextError, RuntimeFailedError
from edgenext.system.processes import Deadline, end_process, package_path

ANSWER_S = 600.0
"""A worker without an answer after this time hangs: no load and no burst takes as long."""
COMMAND = (sys.executable, "-P", "-m", "edgenext.benchmark.worker")
"""-P: a file called numpy.py in the user's folder is not imported."""


class WorkerProcess:
    """One artifact in a process of its own; a context manager that leaves no process behind."""

    loaded: LoadedArtifact

    def __init__(
        self,
        name: str,
        job: WorkerJob,
        *,
        command: Sequence[str] = COMMAND,
        timeout_s: float = ANSWER_S,
    ) -> None:
        self.name = name
        self._job = job
        with contextlib.ExitStack() as stack:
            self._log = stack.enter_context(tempfile.TemporaryFile())
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env=worker_env(job.threads),
                encoding="utf-8",
            )
            self._deadline = Deadline(self._process, timeout_s)
            # From here on the log lives as long as the process.
            self._resources = stack.pop_all()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Load the artifact and warm it up; sets `loaded`.

        Raises:
            RuntimeFailedError: the runtime refused the file, or the process died.
            EdgenextError: another error of the artifact, of its own class.
        """
        answer = self._request(asdict(self._job))
        self.loaded = LoadedArtifact(**answer | {"cpus": tuple(answer["cpus"])})
        self._suspend(True)

    def burst(self) -> list[float]:
        """Wall times in ms of one burst.

        Raises:
            RuntimeFailedError: the runtime failed, or the process died.
        """
        with self._resumed():
            samples: list[float] = self._request({"burst": self.loaded.burst})["samples_ms"]
        return samples

    def peak_rss_mb(self) -> float:
        """The process's peak memory so far less the empty runtime's, in MiB.

        Raises:
            RuntimeFailedError: the process died.
        """
        with self._resumed():
            return float(self._request({"finish": True})["peak_rss_mb"])

    def close(self) -> None:
        """Kill the process: it has no state to save."""
        end_process(self._process)
        self._resources.close()

    @contextlib.contextmanager
    def _resumed(self) -> Iterator[None]:
        self._suspend(False)
        yield
        self._suspend(True)

    def _suspend(self, stop: bool) -> None:
        # The idle threads of a pool spin for tens of ms after an inference, on the cores of the
        # next artifact. A single thread does not spin.
        if self._job.threads == 1:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            (process.suspend if stop else process.resume)()

    def _request(self, message: Mapping[str, Any]) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise AssertionError("a worker always has both pipes")
        with self._deadline.waiting():
            # A worker that is already dead is seen below: it gives no answer.
            with contextlib.suppress(BrokenPipeError):
                stdin.write(json.dumps(message) + "\n")
                stdin.flush()
            line = stdout.readline()
        if not line:
            raise self._death_error()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise self._worker_error(answer["error"])
        return answer

    def _worker_error(self, report: Mapping[str, str]) -> EdgenextError:
        """The error that a worker reported, as an exception of the same class."""
        kind = getattr(errors, report["kind"], RuntimeFailedError)
        # Some runtimes write paragraphs; an error is one line.
        message = " ".join(report["message"].split())
        error: EdgenextError = kind(f"{self.name}: {message}", report["remedy"])
        return error

    def _death_error(self) -> RuntimeFailedError:
        """The error of a process that ended without an answer."""
        death = self._deadline.death(self._log)
        remedy = "Try `edgenext eval` on it, or export it again"
        if death.out_of_memory:
            remedy = "It may have run out of memory: free some, or use a smaller batch"
        return RuntimeFailedError(f"the process that runs {self.name} {death.cause}", remedy)


def worker_env(threads: int) -> dict[str, str]:
    """A worker's environment: this package importable, and every library limited to `threads`."""
    count = str(threads)
    return os.environ | {
        "PYTHONPATH": package_path(),
        "OMP_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
    }
