"""Order, percentiles and ratios, from executors that need no clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from conditions import LOADED, QUIET

from edgenext.benchmark.interleave import Rounds, interleave
from edgenext.benchmark.latency import (
    LatencyMeasurement,
    bench_artifacts,
    bench_result,
    latency_percentiles,
    latency_ratios,
    sustained_result,
)
from edgenext.benchmark.validity import LatencyRequest
from edgenext.errors import UsageError
from edgenext.formats.artifact import Artifact, distinct_names
from edgenext.options import BenchOptions
from edgenext.schema import BenchResult


@dataclass
class Scripted:
    """An executor whose samples are written down."""

    name: str
    samples: list[list[float]]
    calls: list[str] = field(default_factory=list)

    def burst(self) -> list[float]:
        self.calls.append(self.name)
        return self.samples[self.calls.count(self.name) - 1]


def test_bursts_take_turns() -> None:
    calls: list[str] = []
    three = [Scripted(name, [[1.0]] * 4, calls) for name in "ABC"]
    done: list[int] = []
    samples = interleave(three, 4, after_round=lambda rounds, _: done.append(rounds))
    assert "".join(calls) == "ABCABCABCABC"
    assert done == [1, 2, 3, 4]
    assert samples == [[[1.0]] * 4] * 3


def test_rounds_go_on_until_the_time_is_over() -> None:
    calls: list[str] = []
    two = [Scripted(name, [[1.0]] * 9, calls) for name in "AB"]
    ticks = count()
    ends_s: list[float] = []
    samples = interleave(
        two,
        2,
        at_least_s=3,
        after_round=lambda _, elapsed_s: ends_s.append(elapsed_s),
        clock=lambda: float(next(ticks)),
    )
    assert ends_s == [1, 2, 3]
    assert "".join(calls) == "ABABAB"
    assert [len(rounds) for rounds in samples] == [3, 3]


def test_all_rounds_are_made_however_long_they_take() -> None:
    ticks = count()
    scripted = Scripted("A", [[1.0]] * 9)
    samples = interleave([scripted], 3, at_least_s=1, clock=lambda: float(next(ticks)))
    assert samples == [[[1.0]] * 3]


def test_a_sustained_result_is_the_last_thirds(make_artifact: Callable[..., Artifact]) -> None:
    samples = [[1.0]] * 10 + [[1.5]] * 10 + [[2.0, 2.0, 5.0]] * 10
    measurement = LatencyMeasurement("tiny", LOADED, samples, 0.0)
    row = bench_result(make_artifact(), measurement, LatencyRequest(30, 1, 1), QUIET)
    assert any("last third of the rounds is 100% slower" in reason for reason in row.reasons)
    result = sustained_result(row, samples, [2.0 * i for i in range(1, 31)])
    assert result.latency_ms and result.latency_ms.p50 == 2
    assert result.sustained and result.sustained.seconds == 60
    assert (result.sustained.first_third_ms, result.sustained.drift) == (1, 1)
    assert not any("last third" in reason for reason in result.reasons)


def test_latency_percentiles() -> None:
    result = latency_percentiles([float(i) for i in range(1, 102)])
    assert (result.min, result.mean, result.p50, result.p90, result.p99) == (1, 51, 51, 91, 100)


def test_a_result_keeps_every_sample_with_its_round(make_artifact: Callable[..., Artifact]) -> None:
    executor = Scripted("tiny", [[1.0, 2.0, 3.0], [4.0, 5.0]])
    measurement = LatencyMeasurement("tiny", LOADED, interleave([executor], 2)[0], 7.5)
    result = bench_result(make_artifact(), measurement, LatencyRequest(2, 1, 1), QUIET)
    assert result.samples_ms == (1, 2, 3, 4, 5)
    assert result.rounds == (3, 2)
    assert (result.n, result.peak_rss_mb, result.artifact, result.size) == (5, 7.5, "tiny", "32×32")
    assert result.latency_ms.p50 == 3
    assert not result.valid
    assert result.affinity == (0,)


def measured(
    make_artifact: Callable[..., Artifact], *speeds: float
) -> tuple[list[BenchResult], list[Rounds]]:
    rng = np.random.default_rng(0)
    # What disturbs a round disturbs all in it: the ratio must not feel it.
    disturbance = 1 + 0.04 * rng.random(30)
    results: list[BenchResult] = []
    samples: list[Rounds] = []
    for i, speed in enumerate(speeds):
        rounds = [[speed * d * (1 + 0.01 * rng.random()) for _ in range(3)] for d in disturbance]
        samples.append(rounds)
        measurement = LatencyMeasurement(f"x{i}", LOADED, rounds, 1.0)
        results.append(bench_result(make_artifact(), measurement, LatencyRequest(30, 1, 1), QUIET))
    return results, samples


def test_ratios_stand_both_ways_beside_the_first(make_artifact: Callable[..., Artifact]) -> None:
    results, samples = measured(make_artifact, 10.0, 5.0, 20.0)
    four = latency_ratios(results, samples, seed=0, floor=0.02)
    assert [(r.a, r.b) for r in four] == [("x1", "x0"), ("x0", "x1"), ("x2", "x0"), ("x0", "x2")]
    for ratio, truth in zip(four, (0.5, 2.0, 2.0, 0.5), strict=True):
        assert ratio.median == pytest.approx(truth, rel=0.005)
        assert ratio.ci95[0] <= ratio.median <= ratio.ci95[1]
        # The rounds vary by 4 %, their ratios by far less; the floor adds 2 % at both ends.
        low, high = ratio.rounds_ci95
        assert high - low < 0.01 * truth
        assert ratio.ci95 == pytest.approx((low / 1.02, high * 1.02))
        assert ratio.valid and ratio.distinguishable
    assert four == latency_ratios(results, samples, seed=0, floor=0.02)
    assert not any(r.distinguishable for r in latency_ratios(results, samples, seed=0, floor=1.1))


def test_a_ratio_with_an_invalid_side_is_invalid(make_artifact: Callable[..., Artifact]) -> None:
    results, samples = measured(make_artifact, 10.0, 5.0, 20.0)
    results[1] = results[1].model_copy(update={"valid": False})
    ratios = latency_ratios(results, samples, seed=0, floor=0.01)
    assert [r.valid for r in ratios] == [False, False, True, True]


def test_artifacts_that_share_a_name_are_told_apart(make_artifact: Callable[..., Artifact]) -> None:
    one = make_artifact("one")
    elsewhere = replace(one, path=Path("elsewhere/one.onnx"))
    two = make_artifact("two")
    assert distinct_names([one.path, two.path]) == ["one", "two"]
    assert distinct_names([one.path, two.path, one.path]) == ["one", "two", "one (2)"]
    folder = one.path.parent  # the shortest ends that differ, whatever is above them
    assert distinct_names([one.path, elsewhere.path]) == [
        f"{folder.name}/one.onnx", "elsewhere/one.onnx",
    ]  # fmt: skip
    below = [one.path, folder / "copy" / "one.onnx"]
    assert distinct_names(below) == ["one.onnx", "copy/one.onnx"]


def test_options_that_cannot_be(make_artifact: Callable[..., Artifact]) -> None:
    one = make_artifact()
    with pytest.raises(UsageError, match="nothing to measure"):
        bench_artifacts([])
    for option in ("threads", "batch", "rounds"):
        with pytest.raises(UsageError, match=f"--{option} 0 is too small"):
            bench_artifacts([one], BenchOptions(**{option: 0}))
