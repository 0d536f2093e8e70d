"""The whole benchmark with real files in onnxruntime. No figure here is held to a bar."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import psutil
import pytest

from edgenext.benchmark.latency import bench_artifacts, own_command
from edgenext.errors import RuntimeFailedError
from edgenext.formats.artifact import Artifact
from edgenext.options import BenchOptions
from edgenext.schema import BenchReport


def children() -> set[int]:
    return {p.pid for p in psutil.Process().children()}


def test_bench_measures_and_compares(make_artifact: Callable[..., Artifact]) -> None:
    one, two = make_artifact("one"), make_artifact("two", layers=8, channels=16)
    before = children()
    steps: list[tuple[str, int, int]] = []
    report = bench_artifacts([one, two], BenchOptions(rounds=6), lambda *step: steps.append(step))
    assert children() == before
    assert steps == [("benchmarking", i, 9) for i in range(1, 10)]
    assert [r.artifact for r in report.results] == ["one", "two"]
    for row, artifact in zip(report.results, (one, two), strict=True):
        assert (row.runtime, row.device, row.evidence) == ("onnxruntime", "cpu", "host")
        assert (row.threads, row.batch, row.sha256) == (1, 1, artifact.manifest.sha256)
        assert row.n == len(row.samples_ms) == sum(row.rounds)
        assert len(row.rounds) == 6
        assert len(set(row.rounds)) == 1
        assert row.latency_ms.min <= row.latency_ms.p50 <= row.latency_ms.p90 <= row.latency_ms.p99
        assert row.latency_ms.p50 == pytest.approx(np.median(row.samples_ms))
        assert not row.valid
        assert "too few rounds to trust (6): ask for at least 30" in row.reasons
        assert row.warmup >= 10
    back, forth = report.ratios
    assert (back.a, back.b) == (forth.b, forth.a) == ("two", "one")
    assert back.ci95[0] <= back.median <= back.ci95[1]
    assert back.median * forth.median == pytest.approx(1, rel=0.2)
    # Eight layers of sixteen channels are more work than one of eight on any machine.
    assert back.median > 1
    assert not back.valid
    noise = report.noise
    assert noise and noise.artifact == "one"
    assert noise.rounds == report.results[0].rounds, "it took turns with the others"
    assert noise.samples_ms != report.results[0].samples_ms
    assert noise.floor >= max(noise.ratio - 1, 1 / noise.ratio - 1)
    assert back.rounds_ci95 and back.ci95[0] < back.rounds_ci95[0] <= back.median
    assert back.ci95[1] == pytest.approx(back.rounds_ci95[1] * (1 + noise.floor))
    assert report.environment is not None
    assert report.environment.packages["onnxruntime"]
    assert BenchReport.model_validate_json(report.model_dump_json()) == report


OUTSIDE = """
from edgenext.benchmark import worker
from edgenext.formats.onnx import session

class Outside:
    preload = session.preload

    def open_session(artifact, threads):
        loaded = session.open_session(artifact, threads)
        loaded.runtime = "from outside"
        return loaded

raise SystemExit(worker.main(Outside))
"""


def test_one_file_is_run_by_a_runtime_from_outside(make_artifact: Callable[..., Artifact]) -> None:
    one, two = make_artifact("one"), make_artifact("two")
    commands = {one.path: own_command(one), two.path: (sys.executable, "-c", OUTSIDE)}
    report = bench_artifacts(
        [one, two], BenchOptions(rounds=2), command_of=lambda artifact: commands[artifact.path]
    )
    assert [result.runtime for result in report.results] == ["onnxruntime", "from outside"]
    assert all(len(result.rounds) == 2 for result in report.results), "they took turns"


def test_an_artifact_with_another_batch_is_measured_and_marked(
    make_artifact: Callable[..., Artifact],
) -> None:
    artifacts = [make_artifact("fixed", batch=2), make_artifact("free")]
    report = bench_artifacts(artifacts, BenchOptions(batch=4, rounds=2))
    fixed, free = report.results
    assert (fixed.batch, free.batch) == (2, 4)
    assert any("takes only 2" in reason for reason in fixed.reasons)
    assert not any("takes only" in reason for reason in free.reasons)


def test_a_sustained_run_goes_on_for_its_time(make_artifact: Callable[..., Artifact]) -> None:
    options = BenchOptions(rounds=1, sustained_s=0.5)
    report = bench_artifacts([make_artifact()], options)
    (row,) = report.results
    assert report.ratios == () and report.noise and report.noise.rounds == row.rounds
    assert len(row.rounds) > 1 and len(row.round_ends_s) == len(row.rounds)
    assert row.sustained and row.sustained.seconds >= 0.5


def test_a_refused_file_ends_the_other_workers(make_artifact: Callable[..., Artifact]) -> None:
    good, bad = make_artifact("good"), make_artifact("bad")
    bad.path.write_bytes(bad.path.read_bytes()[:200])
    before = children()
    with pytest.raises(RuntimeFailedError, match="bad: onnxruntime cannot"):
        bench_artifacts([good, bad], BenchOptions(rounds=2))
    assert children() == before


def test_what_the_progress_raises_ends_the_workers(make_artifact: Callable[..., Artifact]) -> None:
    before = children()

    started: set[int] = set()

    def stop(task: str, done: int, total: int, /) -> None:
        if done > 2:
            started.update(children() - before)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench_artifacts([make_artifact()], BenchOptions(rounds=5), stop)
    assert len(started) == 2, "the base has two processes"
    assert children() == before
