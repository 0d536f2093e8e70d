"""The process that runs one artifact: JSON lines in, JSON lines out.

Started as `python -m edgenext.benchmark.worker`. The first line is a `Job`; the answer is a
`Ready`, once the artifact is loaded and warm. Then each line `{"burst": n}` is answered by
`{"samples_ms": […]}`, and `{"finish": true}` by `{"peak_rss_mb": …}`. A failure is answered by
`{"error": {"kind", "message", "remedy"}}`. The process ends when its input or its parent does.
"""

from __future__ import annotations

import contextlib
import ctypes
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
from typing import Any, TextIO

import numpy as np
import psutil

from edgenext.errors import EdgenextError, RuntimeFailedError, UsageError
from edgenext.formats.artifact import Artifact
from edgenext.formats.runtimes import open_session, runtime_of
from edgenext.formats.session import Images
from edgenext.schema import TIMED, Evidence, Manifest
from edgenext.system.memory import MIB, empty_rss, peak_rss

MIN_WARMUP = 10
"""Inferences before a running median means anything."""
WINDOW = MIN_WARMUP // 2
"""Inferences in each of the two medians that are compared."""
SETTLED = 0.02
"""Warm is when the running median moves by less than this."""
MAX_WARMUP = 500
MAX_WARMUP_S = 20.0
"""Bounds of the warm-up: an artifact that has not settled by then is measured, and marked."""
BURST_MS = 40.0
"""Long beside a timer's and a scheduler's tick, short beside what makes a machine drift."""
MIN_BURST = 3
"""A median of fewer inferences would not shake off one that was disturbed."""
MAX_BURST = 400
"""Every sample is kept: more of an inference under 0.1 ms would only swell the result."""


@dataclass(frozen=True)
class Job:
    """What the parent asks for. `cpus` are the logical CPUs to stay on; none, wherever."""

    path: str
    manifest: dict[str, Any]
    threads: int
    batch: int
    seed: int
    cpus: tuple[int, ...]


@dataclass(frozen=True)
class Ready:
    """What is known of an artifact that is loaded and warm.

    `batch` is the batch it runs, `burst` the inferences in each burst, `cpus` where it was
    pinned, `warmup` how many inferences that took and `settled` whether they came to rest.
    `fallback` is what the runtime does instead of what the file asks for, if anything.
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


def settled(samples: Sequence[float]) -> bool:
    """Whether the median of the last inferences is within 2 % of that of those before them."""
    if len(samples) < MIN_WARMUP:
        return False
    before = statistics.median(samples[-2 * WINDOW : -WINDOW])
    return abs(statistics.median(samples[-WINDOW:]) - before) < SETTLED * before


def burst_size(warm: Sequence[float]) -> int:
    """How many inferences take about 40 ms, from warm samples in ms."""
    one = statistics.median(warm[-WINDOW:])
    return max(MIN_BURST, min(MAX_BURST, math.ceil(BURST_MS / max(one, 1e-6))))


def random_images(manifest: Manifest, batch: int, seed: int) -> Images:
    """The input of every artifact of one size: seeded noise, batch×H×W×3 uint8."""
    height, width = input_size(manifest)
    return np.random.default_rng(seed).integers(0, 256, (batch, height, width, 3), np.uint8)


def input_size(manifest: Manifest) -> tuple[int, int]:
    """Height and width an artifact takes; the evaluation size where it takes any."""
    shape = manifest.input.shape
    height, width = shape[1:3] if manifest.input.channels_last else shape[2:4]
    size = manifest.eval.size
    return (height if height > 0 else size), (width if width > 0 else size)


def timed_ms(call: Callable[[], object]) -> float:
    """Wall time of one call in ms."""
    start = time.perf_counter_ns()
    call()
    return (time.perf_counter_ns() - start) / 1e6


class Runner:
    """One artifact, loaded and warm in this process."""

    def __init__(self, job: Job) -> None:
        manifest = Manifest.model_validate(job.manifest)
        cpus = pin(job.cpus)
        # Loading the runtime's package is neither the artifact's time nor its memory. A missing
        # one is `open_session`'s to tell.
        with contextlib.suppress(EdgenextError, ImportError):
            runtime_of(manifest).preload()
        gc.collect()
        self._empty = empty_rss()

        artifact = Artifact(Path(job.path), manifest)
        start = time.perf_counter_ns()
        session = open_session(artifact, job.threads)
        load_ms = (time.perf_counter_ns() - start) / 1e6
        if session.evidence not in TIMED:
            raise UsageError(
                f"{manifest.file} runs in {session.runtime} here, which is {session.evidence}: its "
                "time says nothing of a device",
                "Measure accuracy with it",
            )
        batch = session.batch or job.batch
        prepared = session.prepare(random_images(manifest, batch, job.seed))
        self._infer: Callable[[], object] = lambda: session.infer(prepared)
        first_ms = timed_ms(self._infer)
        # A collection in the middle of an inference would be ours, not the artifact's.
        gc.collect()
        gc.disable()
        warm = self._warm_up()
        self.ready = Ready(
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
        )

    def burst(self, n: int) -> list[float]:
        """Wall times of n inferences in ms, after one that is not counted.

        It finds the caches full of the artifact that ran before, which is our doing.
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
    """Keep this process on these logical CPUs; those it is really on, none where it cannot."""
    process = psutil.Process()
    if not cpus or not hasattr(process, "cpu_affinity"):
        return ()
    try:
        process.cpu_affinity(list(cpus))
    except (OSError, ValueError, psutil.Error):
        return ()
    return tuple(process.cpu_affinity())


def serve(lines: TextIO, answers: TextIO) -> int:
    """Answer the parent until its lines end; 0, or 1 after a failure."""

    def answer(value: dict[str, Any]) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    try:
        first = lines.readline()
        if not first:
            return 0
        runner = Runner(Job(**json.loads(first)))
        answer(asdict(runner.ready))
        for line in lines:
            asked = json.loads(line)
            if "burst" in asked:
                answer({"samples_ms": runner.burst(asked["burst"])})
            elif "finish" in asked:
                answer({"peak_rss_mb": runner.peak_rss_mb()})
    except BrokenPipeError:
        return 1
    except Exception as e:  # noqa: BLE001 - whatever a runtime raises is the parent's to report
        known = (
            e if isinstance(e, EdgenextError) else RuntimeFailedError(f"{type(e).__name__}: {e}")
        )
        answer(
            {
                "error": {
                    "kind": type(known).__name__,
                    "message": known.message,
                    "remedy": known.remedy,
                }
            }
        )
        return 1
    return 0


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies: suspended, it would not notice."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        prctl: Any = ctypes.CDLL(None).prctl
        prctl(pr_set_pdeathsig, signal.SIGKILL)


def main() -> int:
    """Take the parent's lines; what a runtime prints goes to stderr, not among the answers."""
    # Ctrl-C reaches the whole process group: the parent decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return serve(sys.stdin, answers)


if __name__ == "__main__":
    raise SystemExit(main())
