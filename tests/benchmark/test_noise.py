"""The noise floor: a file against itself, and what ratios may be read after it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from conditions import LOADED, QUIET

from edgenext.benchmark.interleave import Rounds
from edgenext.benchmark.latency import LatencyMeasurement, bench_result, report_of
from edgenext.benchmark.noise import (
    ASSUMED_FLOOR,
    LEAST_FLOOR,
    excludes_one,
    floor_of,
    widened,
)
from edgenext.benchmark.validity import LatencyRequest
from edgenext.formats.artifact import Artifact
from edgenext.schema import BenchReport

Measure = Callable[..., BenchReport]


def rounds(ms: float, seed: int, spread: float = 0.002) -> Rounds:
    rng = np.random.default_rng(seed)
    return [[ms * (1 + spread * rng.standard_normal()) for _ in range(3)] for _ in range(30)]


@pytest.fixture
def measure(make_artifact: Callable[..., Artifact]) -> Measure:
    """A benchmark of processes that take so many ms; the last is the base's second."""

    def report(*ms: float, spread: float = 0.002) -> BenchReport:
        samples = [rounds(value, i, spread) for i, value in enumerate(ms)]
        artifact = make_artifact()
        results = [
            bench_result(
                artifact,
                LatencyMeasurement(f"x{i}", LOADED, of_one, 1.0),
                LatencyRequest(30, 1, 1),
                QUIET,
            )
            for i, of_one in enumerate(samples)
        ]
        return report_of(results, samples, 0, None)

    return report


@pytest.mark.parametrize("second", [10.4, 10.0 / 1.04])
def test_it_is_what_the_file_differs_from_itself_either_way(
    measure: Measure, second: float
) -> None:
    report = measure(10.0, 9.9, 5.0, second)
    noise = report.noise
    assert noise and noise.floor == pytest.approx(0.04, abs=0.003)
    assert noise.floor >= max(noise.ci95[1] - 1, 1 / noise.ci95[0] - 1)
    assert [r.artifact for r in report.results] == ["x0", "x1", "x2"]
    within, _, beyond, _ = report.ratios
    assert within.rounds_ci95 and within.rounds_ci95[1] < 1, "the rounds alone would call it a win"
    assert within.distinguishable is False
    assert beyond.distinguishable is True
    assert beyond.median == pytest.approx(0.5, rel=0.01)


def test_it_holds_what_the_rounds_leave_open(measure: Measure) -> None:
    steady, scattered = measure(10.0, 10.0), measure(10.0, 10.0, spread=0.06)
    assert steady.noise and scattered.noise
    assert steady.noise.floor == LEAST_FLOOR, "two processes may agree by chance"
    assert scattered.noise.floor > LEAST_FLOOR


def test_a_base_that_was_measured_once_has_an_assumed_floor(measure: Measure) -> None:
    report = measure(10.0, 9.9, 10.0)
    assert report.noise and floor_of(report) == report.noise.floor < ASSUMED_FLOOR
    assert floor_of(report.model_copy(update={"noise": None})) == ASSUMED_FLOOR


def test_equal_files_are_seldom_told_apart() -> None:
    """Three processes of one file: the first two give the floor, the third a ratio.

    The processes have a standard deviation of 0.8 %, the intervals of the rounds reach 0.3 %.
    """
    first, second, third = np.random.default_rng(0).normal(0, 0.008, (3, 20_000))
    measured = np.abs(second - first)
    different = np.abs(third - first)
    assert np.mean(measured < 0.03) > 0.99, "files given several times came out within 3 %"
    floors = measured + 0.003
    alone = np.mean(different - 0.003 > floors)
    limited = np.mean(different - 0.003 > np.maximum(floors, LEAST_FLOOR))
    assert alone == pytest.approx(0.23, abs=0.01), "a pair is often nearer than another"
    assert limited == pytest.approx(0.03, abs=0.005)


@pytest.mark.parametrize("floor", [0.0, 0.01, 0.2])
@pytest.mark.parametrize("ratio", [0.8, 0.97, 1.0, 1.009, 1.05, 1.3])
def test_a_ratio_within_the_floor_is_never_told_apart(floor: float, ratio: float) -> None:
    wide = widened((ratio, ratio), floor)
    inverse = widened((1 / ratio, 1 / ratio), floor)
    assert excludes_one(wide) == excludes_one(inverse) == (max(ratio, 1 / ratio) > 1 + floor)
