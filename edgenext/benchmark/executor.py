"""Worker processes: starting them, talking to them, and ending them whatever happens."""

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
from typing import Any, Protocol, Self

import psutil

from edgenext import errors
from edgenext.benchmark.worker import Job, Ready
from edgenext.errors import EdgenextError, RuntimeFailedError

ANSWER_S = 600.0
"""A worker that has not answered by then hangs: no load or burst takes as long."""
EXIT_S = 5.0
TAIL = 3
"""Lines of a dead worker's stderr that its error quotes."""
COMMAND = (sys.executable, "-P", "-m", "edgenext.benchmark.worker")
"""-P: a file called numpy.py in the user's folder is not imported."""


class Executor(Protocol):
    """Something that runs one artifact, loaded and warm."""

    name: str
    ready: Ready

    def burst(self) -> list[float]:
        """Wall times in ms of one burst of inferences."""
        ...


class Worker:
    """One artifact in a process of its own; a context manager that leaves no process behind."""

    ready: Ready

    def __init__(
        self,
        name: str,
        job: Job,
        *,
        command: Sequence[str] = COMMAND,
        patience_s: float = ANSWER_S,
    ) -> None:
        self.name = name
        self._patience_s = patience_s
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
            self._kept = stack.pop_all()

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
        """Load the artifact and warm it up: fills in `ready`.

        Raises:
            RuntimeFailedError: the runtime refused the file, or the process died.
            EdgenextError: what else the runtime said of the artifact, of its own class.
        """
        answer = self._ask(asdict(self._job))
        self.ready = Ready(**answer | {"cpus": tuple(answer["cpus"])})
        self._suspend(True)

    def burst(self) -> list[float]:
        """Wall times in ms of one burst.

        Raises:
            RuntimeFailedError: the runtime failed, or the process died.
        """
        with self._awake():
            samples: list[float] = self._ask({"burst": self.ready.burst})["samples_ms"]
        return samples

    def peak_rss_mb(self) -> float:
        """The process's peak memory so far less the empty runtime's, in MiB.

        Raises:
            RuntimeFailedError: the process died.
        """
        with self._awake():
            return float(self._ask({"finish": True})["peak_rss_mb"])

    def close(self) -> None:
        """End the process. It holds nothing worth a farewell."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                # What was not yet written to a dead process is lost, and may be.
                with contextlib.suppress(OSError):
                    pipe.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(EXIT_S)
        self._kept.close()

    @contextlib.contextmanager
    def _awake(self) -> Iterator[None]:
        self._suspend(False)
        yield
        self._suspend(True)

    def _suspend(self, stop: bool) -> None:
        # The idle threads of a pool spin for tens of ms after an inference: onto the next
        # artifact's cores. A single thread has nobody to wait for.
        if self._job.threads == 1:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self.pid)
            (process.suspend if stop else process.resume)()

    def _ask(self, message: Mapping[str, Any]) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise AssertionError("a worker always has both pipes")
        patience = threading.Timer(self._patience_s, self._give_up)
        patience.daemon = True
        patience.start()
        try:
            # A worker that is dead already shows below: it answers nothing.
            with contextlib.suppress(BrokenPipeError):
                stdin.write(json.dumps(message) + "\n")
                stdin.flush()
            line = stdout.readline()
        finally:
            patience.cancel()
        if not line:
            raise self._death()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise self._error(answer["error"])
        return answer

    def _give_up(self) -> None:
        self._hung = True
        self._process.kill()

    def _error(self, told: Mapping[str, str]) -> EdgenextError:
        kind = getattr(errors, told["kind"], RuntimeFailedError)
        # Some runtimes write paragraphs; an error is one line.
        message = " ".join(told["message"].split())
        error: EdgenextError = kind(f"{self.name}: {message}", told["remedy"])
        return error

    def _death(self) -> RuntimeFailedError:
        try:
            code = self._process.wait(EXIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        remedy = "Try `edgenext eval` on it, or export it again"
        if self._hung:
            how = f"gave no answer for {self._patience_s:g} s"
        elif code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
            if -code == signal.SIGKILL:
                remedy = "It may have run out of memory: free some, or use a smaller batch"
        else:
            how = f"ended with exit code {code}"
        said = " | ".join(self._last_words())
        return RuntimeFailedError(
            f"the process that runs {self.name} {how}" + (f": {said}" if said else ""), remedy
        )

    def _last_words(self) -> list[str]:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").splitlines()
        return [line.strip() for line in lines if line.strip()][-TAIL:]


def worker_env(threads: int) -> dict[str, str]:
    """A worker's environment: this package importable, and no library's threads but ours."""
    package = str(Path(errors.__file__).parents[1])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    count = str(threads)
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
    }
