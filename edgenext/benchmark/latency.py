"""Latency of artifacts beside each other on this machine's CPU."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import psutil

from edgenext.benchmark.environment import choose_cpus, environment
from edgenext.benchmark.executor import COMMAND, WorkerProcess
from edgenext.benchmark.interleave import Rounds, interleave
from edgenext.benchmark.machine import MachineConditions, MachineMonitor
from edgenext.benchmark.noise import latency_ratio, noise_floor
from edgenext.benchmark.validity import (
    DRIFTED,
    LatencyRequest,
    lasting_reasons,
    validity_reasons,
)
from edgenext.benchmark.worker import LoadedArtifact, WorkerJob, input_size
from edgenext.errors import UsageError
from edgenext.formats.artifact import Artifact, distinct_names
from edgenext.options import BENCH, BenchOptions
from edgenext.schema import BenchReport, BenchResult, Environment, Latency, Ratio, Sustained
from edgenext.system.progress import Progress, quiet

CommandOf = Callable[[Artifact], Sequence[str]]
"""The command that starts the worker of an artifact."""


def own_command(_: Artifact) -> Sequence[str]:
    """The worker in this environment, with the runtime of the artifact's format."""
    return COMMAND


@dataclass(frozen=True)
class LatencyMeasurement:
    """One artifact's measurement, under the name that results give it.

    `rounds` are samples in ms by round, `peak_rss_mb` is in MiB.
    """

    name: str
    loaded: LoadedArtifact
    rounds: Rounds
    peak_rss_mb: float


def bench_artifacts(
    artifacts: Sequence[Artifact],
    options: BenchOptions = BENCH,
    progress: Progress = quiet,
    command_of: CommandOf = own_command,
) -> BenchReport:
    """Latency of artifacts, interleaved, each in a process of its own, with ratios to the first.

    The first is measured twice, in two processes: what the two differ by is the noise floor.

    Args:
        artifacts: the first is the base of the ratios.
        options: threads, which is also how many cores each process stays on; batch, where an
            artifact with another fixed batch is measured and marked; rounds, or a duration.
        progress: reports every artifact that is loaded and every round.
        command_of: another interpreter or runtime for some of them; see `worker.main`.

    Raises:
        UsageError: no artifact, or an option below its minimum.
        RuntimeFailedError: a runtime refused an artifact, or its process died.
    """
    check_options(artifacts, options)
    request = LatencyRequest(options.rounds, options.threads, options.batch)
    measured = (*artifacts, artifacts[0])
    steps = len(measured) + options.rounds
    with contextlib.ExitStack() as stack:
        workers = []
        for done, worker in enumerate(_workers(artifacts, options, command_of), 1):
            workers.append(stack.enter_context(worker))
            worker.start()
            progress("benchmarking", done, steps)

        monitor = MachineMonitor(workers[0].loaded.cpus, [w.pid for w in workers])
        ends_s: list[float] = []

        def after_round(done: int, elapsed_s: float) -> None:
            monitor.note_clock()
            ends_s.append(elapsed_s)
            progress("benchmarking", len(workers) + min(done, options.rounds), steps)

        samples = interleave(
            workers, options.rounds, at_least_s=options.sustained_s, after_round=after_round
        )
        conditions = monitor.conditions()
        measurements = [
            LatencyMeasurement(worker.name, worker.loaded, rounds, worker.peak_rss_mb())
            for worker, rounds in zip(workers, samples, strict=True)
        ]

    results = [
        bench_result(artifact, measurement, request, conditions)
        for artifact, measurement in zip(measured, measurements, strict=True)
    ]
    if options.sustained_s:
        results = [
            sustained_result(result, rounds, ends_s)
            for result, rounds in zip(results, samples, strict=True)
        ]
    return report_of(results, samples, options.seed, environment())


def report_of(
    results: Sequence[BenchResult],
    samples: Sequence[Rounds],
    seed: int,
    machine: Environment | None,
) -> BenchReport:
    """The report of a benchmark whose last result is the second process of the first artifact.

    Args:
        results: of all processes.
        samples: theirs, in ms by round.
        seed: of the intervals.
        machine: that was measured on.
    """
    *results, second = results
    *samples, second_samples = samples
    noise = noise_floor(results[0], second, (samples[0], second_samples), seed)
    return BenchReport(
        results=tuple(results),
        ratios=latency_ratios(results, samples, seed, noise.floor),
        noise=noise,
        environment=machine,
    )


def _workers(
    artifacts: Sequence[Artifact], options: BenchOptions, command_of: CommandOf
) -> Iterator[WorkerProcess]:
    """A process for each artifact and a second one for the first, made when it is needed."""
    names = distinct_names([a.path for a in artifacts])
    cpus = choose_cpus(options.threads, _allowed_cpus())
    pairs = list(zip(names, artifacts, strict=True))
    for name, artifact in (*pairs, pairs[0]):
        job = WorkerJob(
            path=str(artifact.path.resolve()),
            manifest=artifact.manifest.model_dump(mode="json"),
            threads=options.threads,
            batch=options.batch,
            seed=options.seed,
            cpus=cpus,
        )
        yield WorkerProcess(name, job, command=command_of(artifact))


def bench_result(
    artifact: Artifact,
    measurement: LatencyMeasurement,
    request: LatencyRequest,
    conditions: MachineConditions,
    device: str = "cpu",
) -> BenchResult:
    """One artifact's result, with the reasons against its validity.

    Args:
        artifact: the file that was measured.
        measurement: what was measured of it.
        request: what the user requested.
        conditions: the state of the machine during the measurement.
        device: the device's name in the result.
    """
    loaded, manifest, rounds = measurement.loaded, artifact.manifest, measurement.rounds
    reasons = validity_reasons(rounds, loaded, request, conditions)
    samples = [sample for one_round in rounds for sample in one_round]
    return BenchResult(
        artifact=measurement.name,
        runtime=loaded.runtime,
        device=device,
        evidence=loaded.evidence,
        threads=request.threads,
        batch=loaded.batch,
        latency_ms=latency_percentiles(samples),
        n=len(samples),
        load_ms=loaded.load_ms,
        first_ms=loaded.first_ms,
        peak_rss_mb=measurement.peak_rss_mb,
        valid=not reasons,
        reasons=reasons,
        noisy=bool(reasons) and not any(lasting_reasons(rounds, loaded, request, conditions)),
        sha256=manifest.sha256,
        scheme=manifest.scheme,
        arch=manifest.arch,
        form=manifest.form,
        size="×".join(map(str, input_size(manifest))),
        samples_ms=tuple(samples),
        rounds=tuple(map(len, rounds)),
        affinity=loaded.cpus,
        warmup=loaded.warmup,
        precision_asked=loaded.precision_asked,
        precision=loaded.precision,
        precision_emulated=loaded.precision_emulated,
    )


def sustained_result(
    result: BenchResult, rounds: Sequence[Sequence[float]], ends_s: Sequence[float]
) -> BenchResult:
    """The same result with the latency of the last third of the rounds, and its drift.

    Drift is then part of the result, and no longer a reason against its validity.
    """
    third = max(len(rounds) // 3, 1)
    first = [sample for one_round in rounds[:third] for sample in one_round]
    last = [sample for one_round in rounds[-third:] for sample in one_round]
    first_median, last_median = statistics.median(first), statistics.median(last)
    reasons = tuple(reason for reason in result.reasons if not reason.startswith(DRIFTED))
    return result.model_copy(
        update={
            "latency_ms": latency_percentiles(last),
            "reasons": reasons,
            "valid": not reasons,
            "noisy": result.noisy and bool(reasons),
            "round_ends_s": tuple(ends_s),
            "sustained": Sustained(
                seconds=ends_s[-1],
                first_third_ms=first_median,
                last_third_ms=last_median,
                drift=last_median / first_median - 1,
            ),
        }
    )


def latency_percentiles(samples: Sequence[float]) -> Latency:
    """Percentiles of samples in ms, interpolated linearly."""
    p50, p90, p99 = np.percentile(samples, (50, 90, 99))
    return Latency(
        min=min(samples),
        mean=statistics.fmean(samples),
        p50=float(p50),
        p90=float(p90),
        p99=float(p99),
    )


def latency_ratios(
    results: Sequence[BenchResult], samples: Sequence[Rounds], seed: int, floor: float
) -> tuple[Ratio, ...]:
    """Each artifact against the first, then the first against it, from medians of equal rounds.

    Their intervals contain the noise floor `floor`.
    """
    return tuple(
        latency_ratio(
            (results[a].artifact, results[b].artifact),
            (samples[a], samples[b]),
            floor=floor,
            seed=seed,
            valid=results[a].valid and results[b].valid,
        )
        for other in range(1, len(results))
        for a, b in ((other, 0), (0, other))
    )


def _allowed_cpus() -> list[int]:
    """The logical CPUs this process may use; none where processes cannot be pinned."""
    process = psutil.Process()
    return list(process.cpu_affinity()) if hasattr(process, "cpu_affinity") else []


def check_options(artifacts: Sequence[Artifact], options: BenchOptions) -> None:
    """Refuse a benchmark without an artifact, or with a number below one.

    Raises:
        UsageError: as above.
    """
    if not artifacts:
        raise UsageError("nothing to measure", "Name at least one artifact")
    check_numbers(options)


def check_numbers(options: BenchOptions) -> None:
    """Refuse a number below one.

    Raises:
        UsageError: as above.
    """
    numbers = {"threads": options.threads, "batch": options.batch, "rounds": options.rounds}
    for option, value in numbers.items():
        if value < 1:
            raise UsageError(f"--{option} {value} is too small", "Use at least 1")
