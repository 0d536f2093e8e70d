"""Worker processes: starting them, exchanging messages with them, and ending them in every case."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from edgenext import errors
from edgenext.benchmark.worker import LoadedArtifact, WorkerJob
from edgenext.errors import EdgenextError, RuntimeFailedError

ANSWER_S = 600.0
"""A worker without an answer after this time hangs: no load and no burst takes as long."""
EXIT_S = 5.0
STDERR_LINES = 3
"""Lines of a dead worker's stderr that its error quotes."""
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
        self._timeout_s = timeout_s
        self._job = job
        self._hung = False
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
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                # Closing flushes what a dead process can no longer read.
                with contextlib.suppress(OSError):
                    pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(EXIT_S)
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
        timer = threading.Timer(self._timeout_s, self._kill_hung)
        timer.daemon = True
        timer.start()
        try:
            # A worker that is already dead is seen below: it gives no answer.
            with contextlib.suppress(BrokenPipeError):
                stdin.write(json.dumps(message) + "\n")
                stdin.flush()
            line = stdout.readline()
        finally:
            timer.cancel()
        if not line:
            raise self._death_error()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise self._worker_error(answer["error"])
        return answer

    def _kill_hung(self) -> None:
        self._hung = True
        self._process.kill()

    def _worker_error(self, report: Mapping[str, str]) -> EdgenextError:
        """The error that a worker reported, as an exception of the same class."""
        kind = getattr(errors, report["kind"], RuntimeFailedError)
        # Some runtimes write paragraphs; an error is one line.
        message = " ".join(report["message"].split())
        error: EdgenextError = kind(f"{self.name}: {message}", report["remedy"])
        return error

    def _death_error(self) -> RuntimeFailedError:
        """The error of a process that ended without an answer."""
        try:
            code = self._process.wait(EXIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        remedy = "Try `edgenext eval` on it, or export it again"
        if self._hung:
            cause = f"gave no answer for {self._timeout_s:g} s"
        elif code < 0:
            cause = f"was killed by {signal.Signals(-code).name}"
            if -code == signal.SIGKILL:
                remedy = "It may have run out of memory: free some, or use a smaller batch"
        else:
            cause = f"ended with exit code {code}"
        output = " | ".join(self._last_stderr_lines())
        return RuntimeFailedError(
            f"the process that runs {self.name} {cause}" + (f": {output}" if output else ""), remedy
        )

    def _last_stderr_lines(self) -> list[str]:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").splitlines()
        return [line.strip() for line in lines if line.strip()][-STDERR_LINES:]


def worker_env(threads: int) -> dict[str, str]:
    """A worker's environment: this package importable, and every library limited to `threads`."""
    package = str(Path(errors.__file__).parents[1])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    count = str(threads)
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
    }
