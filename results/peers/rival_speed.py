"""Latency of every file in one interleaved benchmark for each network."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rival_files import MadeFile, Workshop
from rival_inputs import Case
from rival_rows import RivalFile

from edgenext.benchmark.executor import COMMAND, WorkerProcess
from edgenext.benchmark.interleave import Rounds
from edgenext.benchmark.latency import bench_artifacts
from edgenext.benchmark.noise import floor_of, latency_ratio
from edgenext.benchmark.retry import quietest
from edgenext.benchmark.worker import WorkerJob
from edgenext.errors import EdgenextError
from edgenext.formats.artifact import Artifact
from edgenext.metrics.statistics import bootstrap_median_interval
from edgenext.options import BenchOptions
from edgenext.report.speed import by_round
from edgenext.schema import BenchReport, BenchResult

TRIES = 3
"""Attempts at most while the machine is noisy."""
Row = dict[str, Any]


def latency(
    workshop: Workshop, case: Case, files: Mapping[str, tuple[RivalFile, MadeFile]], rounds: int
) -> Row:
    """All files of a network side by side, one thread, one image.

    Args:
        workshop: where the files are.
        case: the network.
        files: those that were made, by name; the first is the base of the speeds.
        rounds: of the benchmark.
    """
    options = BenchOptions(rounds=rounds)
    artifacts: dict[str, Artifact] = {}
    errors: dict[str, str] = {}
    commands: dict[str, Sequence[str]] = {}
    for name, (row, made) in files.items():
        try:
            artifact = workshop.artifact(row, case, made)
            command = workshop.command(row) if row.runtime else COMMAND
            _try(name, artifact, options, command)
        except EdgenextError as e:
            errors[name] = e.message
            continue
        artifacts[name], commands[str(artifact.path)] = artifact, command
    report = quietest(
        lambda: bench_artifacts(
            list(artifacts.values()), options, _say, lambda a: commands[str(a.path)]
        ),
        TRIES,
    )
    results = dict(zip(artifacts, report.results, strict=True))
    beside = {name: row.beside for name, (row, _) in files.items()}
    return {
        "case": case.name,
        "model": case.arch,
        "threads": options.threads,
        "rounds": rounds,
        "noise_floor": floor_of(report),
        "rows": [_row(name, results, beside[name], report) for name in results],
        "errors": errors,
    }


def _try(name: str, artifact: Artifact, options: BenchOptions, command: Sequence[str]) -> None:
    """Load a file and warm it up, so that one that fails does not end the benchmark of all.

    Raises:
        EdgenextError: it cannot be run.
    """
    manifest = artifact.manifest.model_dump(mode="json")
    job = WorkerJob(str(artifact.path), manifest, options.threads, options.batch, options.seed, ())
    with WorkerProcess(name, job, command=command) as worker:
        worker.start()


def _row(name: str, results: Mapping[str, BenchResult], beside: str, report: BenchReport) -> Row:
    """A file's latency, its speed against the base, and our file's speed against its own."""
    result, base = results[name], next(iter(results.values()))
    medians = np.array([statistics.median(one) for one in _rounds(result)])
    return {
        "name": name,
        "runtime": result.runtime,
        "p50_ms": result.latency_ms.p50,
        "p50_ci95": bootstrap_median_interval(medians, 0),
        "p99_ms": result.latency_ms.p99,
        "n": result.n,
        "peak_rss_mb": result.peak_rss_mb,
        "load_ms": result.load_ms,
        "first_ms": result.first_ms,
        "valid": result.valid,
        "reasons": result.reasons,
        "speed": _ratio(base, result, report),
        "ours": _ratio(result, results[beside], report) if beside in results else None,
    }


def _ratio(slow: BenchResult, fast: BenchResult, report: BenchReport) -> Row:
    """How many times as fast the second is, with the noise floor in the interval."""
    ratio = latency_ratio(
        (slow.artifact, fast.artifact),
        (_rounds(slow), _rounds(fast)),
        floor=floor_of(report),
        seed=0,
        valid=slow.valid and fast.valid,
    )
    return {"median": ratio.median, "ci95": ratio.ci95, "valid": ratio.valid}


def _rounds(result: BenchResult) -> Rounds:
    """Samples in ms by round."""
    return [samples.tolist() for samples in by_round(result) or ()]


def _say(task: str, done: int, total: int) -> None:
    if total and done % 10 == 0:
        print(f"{task}: {done} of {total}", flush=True)
