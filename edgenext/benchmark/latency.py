"""How fast artifacts are beside each other on this machine's CPU."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Sequence

import numpy as np
import psutil

from edgenext.benchmark.environment import choose_cpus, environment
from edgenext.benchmark.executor import Executor, Worker
from edgenext.benchmark.interleave import Rounds, interleave
from edgenext.benchmark.machine import Conditions, Watch
from edgenext.benchmark.validity import DRIFTED, Asked, lasting, reasons
from edgenext.benchmark.worker import Job, input_size
from edgenext.errors import UsageError
from edgenext.formats.artifact import Artifact, distinct_names
from edgenext.metrics.statistics import bootstrap_median_interval
from edgenext.options import BENCH, BenchOptions
from edgenext.schema import BenchReport, BenchResult, Latency, Ratio, Sustained
from edgenext.system.progress import Progress, quiet


def bench_artifacts(
    artifacts: Sequence[Artifact], options: BenchOptions = BENCH, progress: Progress = quiet
) -> BenchReport:
    """Latency of artifacts, interleaved, each in a process of its own, with ratios to the first.

    Args:
        artifacts: the first is the base of the ratios.
        options: threads, each process staying on as many cores; images an inference, an artifact
            that takes another number being measured and marked; rounds, or seconds to go on for.
        progress: told of every artifact loaded and every round.

    Raises:
        UsageError: nothing to measure, or an option below its least value.
        RuntimeFailedError: a runtime refused an artifact, or its process died.
    """
    threads, batch, rounds, seed = options.threads, options.batch, options.rounds, options.seed
    check(artifacts, threads, batch, rounds)
    steps = len(artifacts) + rounds
    asked = Asked(rounds, threads, batch)
    names = distinct_names([a.path for a in artifacts])
    cpus = choose_cpus(threads, _allowed_cpus())
    with contextlib.ExitStack() as stack:
        workers = []
        for done, (name, artifact) in enumerate(zip(names, artifacts, strict=True), 1):
            job = Job(
                path=str(artifact.path.resolve()),
                manifest=artifact.manifest.model_dump(mode="json"),
                threads=threads,
                batch=batch,
                seed=seed,
                cpus=cpus,
            )
            worker = stack.enter_context(Worker(name, job))
            worker.start()
            workers.append(worker)
            progress("benchmarking", done, steps)

        watch = Watch(workers[0].ready.cpus, [w.pid for w in workers])
        start, ends_s = time.monotonic(), []

        def after_round(done: int) -> None:
            watch.note_clock()
            ends_s.append(time.monotonic() - start)
            progress("benchmarking", len(workers) + min(done, rounds), steps)

        samples = interleave(
            workers, rounds, at_least_s=options.sustained_s, after_round=after_round
        )
        during = watch.conditions()
        peaks = [w.peak_rss_mb() for w in workers]

    results = [
        result(artifact, worker, mine, peak, asked, during)
        for artifact, worker, mine, peak in zip(artifacts, workers, samples, peaks, strict=True)
    ]
    if options.sustained_s:
        results = [sustained(row, mine, ends_s) for row, mine in zip(results, samples, strict=True)]
    return BenchReport(
        results=tuple(results),
        ratios=ratios(results, samples, seed),
        environment=environment(),
    )


def result(
    artifact: Artifact,
    executor: Executor,
    samples: Rounds,
    peak_rss_mb: float,
    asked: Asked,
    during: Conditions,
    device: str = "cpu",
) -> BenchResult:
    """One artifact's row, from what its executor measured in `during`."""
    ready, manifest = executor.ready, artifact.manifest
    why = reasons(samples, ready, asked, during)
    every = [sample for one in samples for sample in one]
    return BenchResult(
        artifact=executor.name,
        runtime=ready.runtime,
        device=device,
        evidence=ready.evidence,
        threads=asked.threads,
        batch=ready.batch,
        latency_ms=latency(every),
        n=len(every),
        load_ms=ready.load_ms,
        first_ms=ready.first_ms,
        peak_rss_mb=peak_rss_mb,
        valid=not why,
        reasons=why,
        noisy=bool(why) and not any(lasting(samples, ready, asked, during)),
        sha256=manifest.sha256,
        scheme=manifest.scheme,
        arch=manifest.arch,
        form=manifest.form,
        size="×".join(map(str, input_size(manifest))),
        samples_ms=tuple(every),
        rounds=tuple(map(len, samples)),
        affinity=ready.cpus,
        warmup=ready.warmup,
    )


def sustained(
    row: BenchResult, samples: Sequence[Sequence[float]], ends_s: Sequence[float]
) -> BenchResult:
    """The same result with the latency of the last third, and how it came there.

    That it drifts is then a result, and no reason against one.
    """
    third = max(len(samples) // 3, 1)
    first = [s for r in samples[:third] for s in r]
    last = [s for r in samples[-third:] for s in r]
    before, now = statistics.median(first), statistics.median(last)
    why = tuple(reason for reason in row.reasons if not reason.startswith(DRIFTED))
    return row.model_copy(
        update={
            "latency_ms": latency(last),
            "reasons": why,
            "valid": not why,
            "noisy": row.noisy and bool(why),
            "round_ends_s": tuple(ends_s),
            "sustained": Sustained(
                seconds=ends_s[-1],
                first_third_ms=before,
                last_third_ms=now,
                drift=now / before - 1,
            ),
        }
    )


def latency(samples: Sequence[float]) -> Latency:
    """Percentiles of samples in ms, interpolated linearly."""
    p50, p90, p99 = np.percentile(samples, (50, 90, 99))
    return Latency(
        min=min(samples),
        mean=statistics.fmean(samples),
        p50=float(p50),
        p90=float(p90),
        p99=float(p99),
    )


def ratios(
    results: Sequence[BenchResult], samples: Sequence[Rounds], seed: int
) -> tuple[Ratio, ...]:
    """Each artifact against the first, then the first against it, from medians of equal rounds."""
    medians = [np.array([statistics.median(r) for r in mine]) for mine in samples]
    found = []
    for other in range(1, len(results)):
        for a, b in ((other, 0), (0, other)):
            each = medians[a] / medians[b]
            found.append(
                Ratio(
                    a=results[a].artifact,
                    b=results[b].artifact,
                    median=float(np.median(each)),
                    ci95=bootstrap_median_interval(each, seed),
                    valid=results[a].valid and results[b].valid,
                )
            )
    return tuple(found)


def _allowed_cpus() -> list[int]:
    """The logical CPUs this process may use; none where processes cannot be pinned."""
    process = psutil.Process()
    return list(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else []


def check(artifacts: Sequence[Artifact], threads: int, batch: int, rounds: int) -> None:
    """Refuse what cannot be measured.

    Raises:
        UsageError: no artifact, or a number that is less than one.
    """
    if not artifacts:
        raise UsageError("nothing to measure", "Name at least one artifact")
    for option, value in (("threads", threads), ("batch", batch), ("rounds", rounds)):
        if value < 1:
            raise UsageError(f"--{option} {value} cannot be", "It must be at least 1")
