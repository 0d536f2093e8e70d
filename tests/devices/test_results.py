"""The report of a runner's record: units, sensors, temperatures, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from devices.sample_requests import request_for

from edgenext.devices.protocol import (
    ArtifactMeasurements,
    ConditionsEvent,
    LoadEvent,
    ReadyEvent,
    ReadyFacts,
    RunnerRecord,
)
from edgenext.devices.request import DeviceRequest
from edgenext.devices.results import device_report, read_logits
from edgenext.devices.runners.python_runner import SENSORS
from edgenext.errors import DeviceError
from edgenext.options import BenchOptions
from edgenext.schema import BenchResult, DeviceFacts, Environment

MACHINE = Environment(
    cpu="ARM", isa=("dotprod",), cores=6, memory_gb=8, os="Linux", python="3.10", packages={}
)
FACTS = DeviceFacts(kind="jetson", model="Orin Nano", power_mode="15W", whole_rail="VDD_IN")
LINE = (
    "RAM 2500/7607MB (lfb 4x4MB) CPU [10%@1510,5%@1510] GR3D_FREQ 90% cpu@55C gpu@57.5C "
    "VDD_IN {mw}mW/{mw}mW VDD_CPU_GPU_CV 900mW/900mW"
)


def orin_request(*schemes: str, **facts: Any) -> DeviceRequest:
    changed = FACTS.model_copy(update=facts)
    return request_for(changed, *schemes, options=BenchOptions(rounds=30))


def measured(ms: float, unit: str = "tensorrt", **more: Any) -> ArtifactMeasurements:
    facts = ReadyFacts(
        runtime="TensorRT", batch=1, burst=3, load_ms=5, first_ms=9, warmup=10, settled=True
    )
    ready = ReadyEvent(artifact="0" * 64, ready=facts, unit=unit, **more)
    return ArtifactMeasurements(ready=ready, rounds=((ms,) * 3,) * 30, peak_rss_mb=12.0)


def recorded(request: DeviceRequest, *measurements: ArtifactMeasurements) -> RunnerRecord:
    hashes = [a.manifest.sha256 for a in request.artifacts]
    artifacts = dict(zip(hashes, measurements, strict=True))
    conditions = ConditionsEvent(cores=6)
    return RunnerRecord("job", MACHINE, artifacts=artifacts, conditions=conditions, done=True)


def row(
    request: DeviceRequest, measurements: ArtifactMeasurements, folder: Path, **after: Any
) -> BenchResult:
    later = request.facts.model_copy(update=after)
    return device_report(request, recorded(request, measurements), later, folder).results[0]


def test_a_quiet_run_on_the_unit_asked_for_is_valid(tmp_path: Path) -> None:
    request = orin_request("fp32", "w8a8-static")
    report = device_report(
        request, recorded(request, measured(4.0), measured(2.0)), FACTS, tmp_path
    )
    assert [r.valid for r in report.results] == [True, True]
    assert {r.evidence for r in report.results} == {"device"}
    assert report.results[1].latency_ms and report.results[1].latency_ms.p50 == 2
    forward, _ = report.ratios
    assert (forward.a, forward.median) == ("w8a8-static", 0.5)
    assert report.environment == MACHINE and report.eval is None


def test_the_noise_floor_is_the_devices_own(tmp_path: Path) -> None:
    request = orin_request("fp32", "w8a8-static")
    record = recorded(request, measured(4.0), measured(3.9))
    floors, apart = [], []
    for second in (measured(4.2), measured(4.01), None):
        report = device_report(request, replace(record, second=second), FACTS, tmp_path)
        floors.append(report.noise and report.noise.floor)
        apart.append({r.distinguishable for r in report.ratios})
    assert floors == [pytest.approx(0.05), pytest.approx(0.02), None]
    assert apart == [{False}, {True}, {False}], "2.5 % faster; without a floor 3 % are assumed"
    emulated = orin_request("fp32", "w8a8-static", emulator="qemu")
    quiet = device_report(emulated, replace(record, second=measured(4.2)), FACTS, tmp_path)
    assert quiet.noise is None and quiet.ratios == ()


def test_a_fallback_is_not_valid_for_the_unit(tmp_path: Path) -> None:
    fallback = row(orin_request("fp32"), measured(4.0, "cpu"), tmp_path)
    assert not fallback.valid and (fallback.unit_asked, fallback.unit) == ("tensorrt", "cpu")
    assert any("tensorrt was asked for, but it ran on the cpu" in r for r in fallback.reasons)
    units = {"tensorrt": {"Conv": 40}, "cpu": {"Erf": 12, "Softmax": 3}}
    part = row(orin_request("fp32"), measured(4.0, units=units), tmp_path)
    assert not part.valid
    assert any("15 on the cpu (Erf, Softmax)" in r for r in part.reasons)
    gpu = row(orin_request("fp32"), measured(4.0, units={"gpu": {"Conv": 1}}), tmp_path)
    assert gpu.valid, "TensorRT's rest on CUDA is the same hardware"


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        ({"power_mode": "MAXN"}, "the power mode changed from 15W to MAXN"),
        ({"thermal_status": 4}, "throttled for heat (status 4)"),
        ({"dozing": True}, "the device dozed"),
    ],
)
def test_a_device_that_was_disturbed(after: dict[str, Any], reason: str, tmp_path: Path) -> None:
    result = row(orin_request("fp32"), measured(4.0), tmp_path, **after)
    assert not result.valid and any(reason in r for r in result.reasons)


def test_energy_is_that_of_the_rail_that_feeds_everything(tmp_path: Path) -> None:
    request = orin_request("fp32")
    sha256 = request.artifacts[0].manifest.sha256
    powers = [("idle", 3000), (f"load {sha256}", 7900), (f"load {sha256}", 8100), ("between", 1)]
    rows = [{"t": i, "during": d, "line": LINE.format(mw=mw)} for i, (d, mw) in enumerate(powers)]
    (tmp_path / SENSORS).write_text("".join(json.dumps(r) + "\n" for r in rows))
    load = LoadEvent(artifact=sha256, seconds=2.0, inferences=500)
    measurements = replace(measured(4.0), load=load)
    telemetry = row(request, measurements, tmp_path).telemetry
    assert telemetry is not None and telemetry.samples == 2
    assert telemetry.power_w["VDD_IN"] == pytest.approx(8.0)
    assert telemetry.idle_power_w == pytest.approx(3.0)
    assert telemetry.energy_mj == pytest.approx(8.0 * 2 / 500 * 1000)
    without = orin_request("fp32", whole_rail="")
    other = row(without, measurements, tmp_path).telemetry
    assert other is not None and other.energy_mj is None


def test_under_emulation_no_time_is_told(tmp_path: Path) -> None:
    request = orin_request("fp32", "w8a8-static", emulator="qemu-aarch64")
    report = device_report(
        request, recorded(request, measured(4.0), measured(2.0)), FACTS, tmp_path
    )
    text = report.model_dump_json()
    assert report.ratios == () and "4.0" not in text and {r.n for r in report.results} == {0}


def test_what_is_missing_is_an_error(tmp_path: Path) -> None:
    request = orin_request("fp32")
    complete = recorded(request, measured(4.0))
    for broken in (replace(complete, done=False), replace(complete, artifacts={})):
        with pytest.raises(DeviceError, match="Run the same command again"):
            device_report(request, broken, FACTS, tmp_path)


def test_logits_are_as_many_as_asked_and_finite(tmp_path: Path) -> None:
    path, values = tmp_path / "logits", np.zeros((2, 3), "<f4")
    values.tofile(path)
    assert read_logits(path, 2, 3, "fp32 on orin").shape == (2, 3)
    with pytest.raises(DeviceError, match="fp32 on orin gave 24 bytes of logits; 3 images"):
        read_logits(path, 3, 3, "fp32 on orin")
    values[1, 2] = np.inf
    values.tofile(path)
    with pytest.raises(DeviceError, match="not finite, of 1 of 2 images"):
        read_logits(path, 2, 3, "fp32 on orin")
