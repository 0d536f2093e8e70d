"""The process that runs one artifact: JSON lines in, JSON lines out.

Started as `python -m edgenext.benchmark.worker`. The first line is a `WorkerJob`; the answer is a
`LoadedArtifact`, once the artifact is loaded and warm. Then each line `{"burst": n}` is answered by
`{"samples_ms": […]}`, and `{"finish": true}` by `{"peak_rss_mb": …}`. A failure is answered by
`{"error": {"kind", "message", "remedy"}}`. The process ends with its input or with its parent.
"""

from __future__ import annotations

import contextlib
import gc
import json
import math
import os
import signal
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np
import psutil

from edgenext.errors import EdgenextError, RuntimeFailedError, UsageError
from edgenext.formats.artifact import Artifact
from edgenext.formats.runtimes import open_session, runtime_of
from edgenext.formats.session import Images, Session
from edgenext.schema import TIMED, Evidence, Manifest
from edgenext.system.memory import MIB, empty_rss, peak_rss
from edgenext.system.processes import die_with_parent

MIN_WARMUP = 10
"""Fewest inferences for a comparison of running medians."""
WINDOW = MIN_WARMUP // 2
"""Inferences in each of the two medians that are compared."""
SETTLED = 0.02
"""An artifact is warm when the running median changes by less than this share."""
MAX_WARMUP = 500
MAX_WARMUP_S = 20.0
"""Limits of the warm-up: an artifact that has not settled by then is measured and marked."""
BURST_MS = 40.0
"""Much longer than a tick of a timer or scheduler, much shorter than a machine takes to drift."""
MIN_BURST = 3
"""A median of fewer inferences is not robust to one that was disturbed."""
MAX_BURST = 400
"""Every sample is recorded: more of them would only enlarge the result of a fast artifact."""


class Runtime(Protocol):
    """What runs an artifact: the module `session` of its format, or one from outside."""

    def preload(self) -> object:
        """Import the package that it drives."""
        ...

    def open_session(self, artifact: Artifact, threads: int) -> Session:
        """Load an artifact."""
        ...


class OwnRuntime:
    """The runtime of an artifact's format."""

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest

    def preload(self) -> object:
        """Import the package that it drives."""
        return runtime_of(self._manifest).preload()

    def open_session(self, artifact: Artifact, threads: int) -> Session:
        """Load an artifact."""
        return open_session(artifact, threads)


@dataclass(frozen=True)
class WorkerJob:
    """The parent's request. `cpus` are the logical CPUs to stay on; empty for any."""

    path: str
    manifest: dict[str, Any]
    threads: int
    batch: int
    seed: int
    cpus: tuple[int, ...]


@dataclass(frozen=True)
class LoadedArtifact:
    """An artifact that is loaded and warm.

    `batch` is the batch it runs, `burst` the inferences in each burst, `cpus` the logical CPUs it
    is pinned to, `warmup` the number of inferences of the warm-up and `settled` whether their
    times settled. `fallback` says what the runtime computes instead of what the file specifies;
    empty where it follows the file. The three fields of the precision are those of `BenchResult`.
    """

    runtime: str
    evidence: Evidence
    batch: int
    burst: int
    cpus: tuple[int, ...]
    load_ms: float
    first_ms: float
    warmup: int
    settled: bool
    fallback: str = ""
    precision_asked: str = ""
    precision: str = ""
    precision_emulated: bool | None = None


def settled(samples: Sequence[float]) -> bool:
    """Whether the median of the last inferences is within 2 % of the median before them."""
    if len(samples) < MIN_WARMUP:
        return False
    before = statistics.median(samples[-2 * WINDOW : -WINDOW])
    return abs(statistics.median(samples[-WINDOW:]) - before) < SETTLED * before


def burst_size(warm: Sequence[float]) -> int:
    """The number of inferences that take about 40 ms, from warm samples in ms."""
    sample_ms = statistics.median(warm[-WINDOW:])
    return max(MIN_BURST, min(MAX_BURST, math.ceil(BURST_MS / max(sample_ms, 1e-6))))


def random_images(manifest: Manifest, batch: int, seed: int) -> Images:
    """Seeded noise, batch×H×W×3 uint8: the same for every artifact of one input size."""
    height, width = input_size(manifest)
    return np.random.default_rng(seed).integers(0, 256, (batch, height, width, 3), np.uint8)


def input_size(manifest: Manifest) -> tuple[int, int]:
    """Height and width of an artifact's input; the evaluation size where they are free."""
    shape = manifest.input.shape
    height, width = shape[1:3] if manifest.input.channels_last else shape[2:4]
    size = manifest.eval.size
    return (height if height > 0 else size), (width if width > 0 else size)


def timed_ms(call: Callable[[], object]) -> float:
    """Wall time of one call in ms."""
    start = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - start) / 1e6


class WarmSession:
    """One artifact, loaded and warm in this process.

    Args:
        job: the parent's request.
        runtime: what runs the artifact; None for that of its format.
    """

    def __init__(self, job: WorkerJob, runtime: Runtime | None = None) -> None:
        manifest = Manifest.model_validate(job.manifest)
        runtime = runtime or OwnRuntime(manifest)
        cpus = pin(job.cpus)
        # Importing the runtime's package counts neither as the artifact's time nor as its memory.
        # `open_session` reports a package that is missing.
        with contextlib.suppress(EdgenextError, ImportError):
            runtime.preload()
        gc.collect()
        self._empty = empty_rss()

        artifact = Artifact(Path(job.path), manifest)
        start = time.perf_counter_ns()
        session = runtime.open_session(artifact, job.threads)
        load_ms = (time.perf_counter_ns() - start) / 1e6
        if session.evidence not in TIMED:
            raise UsageError(
                f"{manifest.file} runs in {session.runtime} here, which is {session.evidence}: its "
                "latency is not that of a device",
                "Use it to measure accuracy only",
            )
        batch = session.batch or job.batch
        prepared = session.prepare(random_images(manifest, batch, job.seed))
        self._infer: Callable[[], object] = lambda: session.infer(prepared)
        first_ms = timed_ms(self._infer)
        # A garbage collection during an inference would distort its time.
        gc.collect()
        gc.disable()
        warm = self._warm_up()
        self.loaded = LoadedArtifact(
            runtime=session.runtime,
            evidence=session.evidence,
            batch=batch,
            burst=burst_size(warm),
            cpus=cpus,
            load_ms=load_ms,
            first_ms=first_ms,
            warmup=len(warm),
            settled=settled(warm),
            fallback=session.fallback,
            precision_asked=session.precision_asked,
            precision=session.precision,
            precision_emulated=session.precision_emulated,
        )

    def burst(self, n: int) -> list[float]:
        """Wall times of n inferences in ms, after one that is not counted.

        The first one runs with the CPU's caches full of the previous artifact's data.
        """
        self._infer()
        return [timed_ms(self._infer) for _ in range(n)]

    def peak_rss_mb(self) -> float:
        """The process's peak memory less that of the empty runtime, in MiB."""
        return max(peak_rss() - self._empty, 0) / MIB

    def _warm_up(self) -> list[float]:
        samples: list[float] = []
        end = time.monotonic() + MAX_WARMUP_S
        while not settled(samples):
            late = len(samples) >= MAX_WARMUP or time.monotonic() > end
            if late and len(samples) >= MIN_WARMUP:
                break
            samples.append(timed_ms(self._infer))
        return samples


def pin(cpus: Sequence[int]) -> tuple[int, ...]:
    """Pin this process to logical CPUs; those it is pinned to, none where that is not possible."""
    process = psutil.Process()
    if not cpus or not hasattr(process, "cpu_affinity"):
        return ()
    try:
        process.cpu_affinity(list(cpus))
    except (OSError, ValueError, psutil.Error):
        return ()
    return tuple(process.cpu_affinity())


def serve(lines: TextIO, answers: TextIO, runtime: Runtime | None = None) -> int:
    """Answer the parent until its lines end; 0, or 1 after a failure."""

    def answer(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    try:
        first = lines.readline()
        if not first:
            return 0
        session = WarmSession(WorkerJob(**json.loads(first)), runtime)
        answer(asdict(session.loaded))
        for line in lines:
            request = json.loads(line)
            if "burst" in request:
                answer({"samples_ms": session.burst(request["burst"])})
            elif "finish" in request:
                answer({"peak_rss_mb": session.peak_rss_mb()})
    except BrokenPipeError:
        return 1
    except Exception as e:  # noqa: BLE001 - the parent reports any error of a runtime
        error = (
            e if isinstance(e, EdgenextError) else RuntimeFailedError(f"{type(e).__name__}: {e}")
        )
        kind = type(error).__name__
        answer({"error": {"kind": kind, "message": error.message, "remedy": error.remedy}})
        return 1
    return 0


def main(runtime: Runtime | None = None) -> int:
    """Serve the parent on stdin and stdout; whatever a runtime prints goes to stderr.

    Args:
        runtime: what runs the artifact; None for that of its format.
    """
    # Ctrl-C reaches the whole process group: the parent decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return serve(sys.stdin, answers, runtime)


if __name__ == "__main__":
    raise SystemExit(main())
