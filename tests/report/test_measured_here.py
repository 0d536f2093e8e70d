"""Speeds that runs measured on this machine, in the advice of later commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_runs import summary

from edgenext.benchmark.advice import advice_line
from edgenext.benchmark.measured_here import measured_speeds, remember, speeds_file
from edgenext.schema import BenchReport, Environment


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGENEXT_CACHE", str(tmp_path))


@pytest.fixture
def latency() -> BenchReport:
    return summary().bench


def machine(latency: BenchReport) -> Environment:
    assert latency.environment is not None
    return latency.environment


def targets(latency: BenchReport) -> dict[str, str]:
    return {latency.results[-1].artifact: "cpu-onnxruntime"}


def test_a_valid_speed_is_advice_on_the_same_cpu(latency: BenchReport) -> None:
    here = machine(latency)
    assert "measure it with" in advice_line(here)
    remember(latency, targets(latency))
    (row,) = measured_speeds(here)
    ratio = next(r for r in latency.ratios if r.b == latency.results[-1].artifact)
    assert (row.speed, row.ci95) == (round(ratio.median, 3), ratio.ci95)
    assert f"measured on this machine: {row.speed:.2f}x" in advice_line(here)
    assert "measured on this machine" not in advice_line(here, "cpu-openvino")
    other = here.model_copy(update={"cpu": "another"})
    assert not measured_speeds(other) and "measured on this machine" not in advice_line(other)


def test_a_newer_speed_replaces_the_older(latency: BenchReport) -> None:
    remember(summary(ms=(12.8, 10.85, 9.9)).bench, targets(latency))
    remember(latency, targets(latency))
    assert [row.speed > 1.4 for row in measured_speeds(machine(latency))] == [True]


def test_what_is_not_valid_or_not_ours_is_not_kept(latency: BenchReport) -> None:
    noisy = summary(reasons={latency.results[-1].artifact: ("varies by 20 %",)}).bench
    remember(noisy, targets(latency))
    remember(latency, {})
    assert not measured_speeds(machine(latency))


@pytest.mark.parametrize("content", [b"", b"{", b"[{}]", b"\xff", b'[{"speed": NaN}]'])
def test_a_damaged_file_holds_none_and_is_replaced(latency: BenchReport, content: bytes) -> None:
    speeds_file().parent.mkdir(parents=True)
    speeds_file().write_bytes(content)
    assert not measured_speeds(machine(latency))
    remember(latency, targets(latency))
    assert len(measured_speeds(machine(latency))) == 1


def test_a_cache_that_cannot_be_written_is_no_error(latency: BenchReport) -> None:
    speeds_file().parent.write_text("a file")
    remember(latency, targets(latency))
    assert not measured_speeds(machine(latency))
