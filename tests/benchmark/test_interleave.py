"""Order, percentiles and ratios, from executors that need no clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from conditions import QUIET, READY

from edgenext.benchmark.interleave import Rounds, interleave
from edgenext.benchmark.latency import bench_artifacts, latency, ratios, result, sustained
from edgenext.benchmark.validity import Asked
from edgenext.benchmark.worker import Ready
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
    ready: Ready = READY

    def burst(self) -> list[float]:
        self.calls.append(self.name)
        return self.samples[self.calls.count(self.name) - 1]


def test_bursts_take_turns() -> None:
    calls: list[str] = []
    three = [Scripted(name, [[1.0]] * 4, calls) for name in "ABC"]
    done: list[int] = []
    samples = interleave(three, 4, after_round=done.append)
    assert "".join(calls) == "ABCABCABCABC"
    assert done == [1, 2, 3, 4]
    assert samples == [[[1.0]] * 4] * 3


def test_rounds_go_on_until_the_time_is_over() -> None:
    calls: list[str] = []
    two = [Scripted(name, [[1.0]] * 9, calls) for name in "AB"]
    ticks = count()
    samples = interleave(two, 2, at_least_s=2, clock=lambda: float(next(ticks)))
    assert "".join(calls) == "ABABAB"
    assert [len(mine) for mine in samples] == [3, 3]


def test_all_rounds_are_made_however_long_they_take() -> None:
    ticks = count()
    scripted = Scripted("A", [[1.0]] * 9)
    samples = interleave([scripted], 3, at_least_s=1, clock=lambda: float(next(ticks)))
    assert samples == [[[1.0]] * 3]


def test_a_sustained_result_is_the_last_thirds(make_artifact: Callable[..., Artifact]) -> None:
    samples = [[1.0]] * 10 + [[1.5]] * 10 + [[2.0, 2.0, 5.0]] * 10
    executor = Scripted("tiny", samples)
    row = result(make_artifact(), executor, samples, 0.0, Asked(30, 1, 1), QUIET)
    assert any("last third of the rounds is 100% slower" in reason for reason in row.reasons)
    found = sustained(row, samples, [2.0 * i for i in range(1, 31)])
    assert found.latency_ms and found.latency_ms.p50 == 2
    assert found.sustained and found.sustained.seconds == 60
    assert (found.sustained.first_third_ms, found.sustained.drift) == (1, 1)
    assert not any("last third" in reason for reason in found.reasons)


def test_latency_percentiles() -> None:
    found = latency([float(i) for i in range(1, 102)])
    assert (found.min, found.mean, found.p50, found.p90, found.p99) == (1, 51, 51, 91, 100)


def test_a_result_keeps_every_sample_with_its_round(make_artifact: Callable[..., Artifact]) -> None:
    executor = Scripted("tiny", [[1.0, 2.0, 3.0], [4.0, 5.0]])
    samples = interleave([executor], 2)[0]
    found = result(make_artifact(), executor, samples, 7.5, Asked(2, 1, 1), QUIET)
    assert found.samples_ms == (1, 2, 3, 4, 5)
    assert found.rounds == (3, 2)
    assert (found.n, found.peak_rss_mb, found.artifact, found.size) == (5, 7.5, "tiny", "32×32")
    assert found.latency_ms.p50 == 3
    assert not found.valid
    assert found.affinity == (0,)


def measured(
    make_artifact: Callable[..., Artifact], *speeds: float
) -> tuple[list[BenchResult], list[Rounds]]:
    rng = np.random.default_rng(0)
    # What disturbs a round disturbs all in it: the ratio must not feel it.
    disturbance = 1 + 0.04 * rng.random(30)
    found: list[BenchResult] = []
    samples: list[Rounds] = []
    for i, speed in enumerate(speeds):
        mine = [[speed * d * (1 + 0.01 * rng.random()) for _ in range(3)] for d in disturbance]
        executor = Scripted(f"x{i}", mine)
        samples.append(mine)
        found.append(result(make_artifact(), executor, mine, 1.0, Asked(30, 1, 1), QUIET))
    return found, samples


def test_ratios_stand_both_ways_beside_the_first(make_artifact: Callable[..., Artifact]) -> None:
    found, samples = measured(make_artifact, 10.0, 5.0, 20.0)
    four = ratios(found, samples, seed=0)
    assert [(r.a, r.b) for r in four] == [("x1", "x0"), ("x0", "x1"), ("x2", "x0"), ("x0", "x2")]
    for ratio, truth in zip(four, (0.5, 2.0, 2.0, 0.5), strict=True):
        assert ratio.median == pytest.approx(truth, rel=0.005)
        assert ratio.ci95[0] <= ratio.median <= ratio.ci95[1]
        # The rounds vary by 4 %, their ratios by far less.
        assert ratio.ci95[1] - ratio.ci95[0] < 0.01 * truth
        assert ratio.valid
    assert four == ratios(found, samples, seed=0)


def test_a_ratio_with_an_invalid_side_is_invalid(make_artifact: Callable[..., Artifact]) -> None:
    found, samples = measured(make_artifact, 10.0, 5.0, 20.0)
    found[1] = found[1].model_copy(update={"valid": False})
    assert [r.valid for r in ratios(found, samples, seed=0)] == [False, False, True, True]


def test_artifacts_that_share_a_name_are_told_apart(make_artifact: Callable[..., Artifact]) -> None:
    one = make_artifact("one")
    elsewhere = replace(one, path=Path("elsewhere/one.onnx"))
    two = make_artifact("two")
    assert distinct_names([one.path, two.path]) == ["one", "two"]
    assert distinct_names([one.path, two.path, one.path]) == ["one", "two", "one (2)"]
    assert distinct_names([one.path, elsewhere.path]) == [str(one.path), "elsewhere/one.onnx"]


def test_options_that_cannot_be(make_artifact: Callable[..., Artifact]) -> None:
    one = make_artifact()
    with pytest.raises(UsageError, match="nothing to measure"):
        bench_artifacts([])
    for option in ("threads", "batch", "rounds"):
        with pytest.raises(UsageError, match=f"--{option} 0 cannot be"):
            bench_artifacts([one], BenchOptions(**{option: 0}))
