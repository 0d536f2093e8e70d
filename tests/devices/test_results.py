"""What a device told, made into results: units, sensors, heat, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from devices.test_request import artifact

from edgenext.devices.protocol import During, Load, Measured, ReadyEvent, Recorded, Warm
from edgenext.devices.request import Asked
from edgenext.devices.results import read_logits, report
from edgenext.devices.runners.python_runner import SENSORS
from edgenext.errors import DeviceError
from edgenext.options import BenchOptions
from edgenext.schema import BenchResult, Device, DeviceFacts, Environment

HERE = Environment(
    cpu="ARM", isa=("dotprod",), cores=6, memory_gb=8, os="Linux", python="3.10", packages={}
)
FACTS = DeviceFacts(kind="jetson", model="Orin Nano", power_mode="15W", whole_rail="VDD_IN")
LINE = (
    "RAM 2500/7607MB (lfb 4x4MB) CPU [10%@1510,5%@1510] GR3D_FREQ 90% cpu@55C gpu@57.5C "
    "VDD_IN {mw}mW/{mw}mW VDD_CPU_GPU_CV 900mW/900mW"
)


def asked(*schemes: str, **facts: Any) -> Asked:
    return Asked(
        Device(name="orin", kind="jetson", ssh="a@b"),
        FACTS.model_copy(update=facts),
        tuple(artifact(s) for s in schemes),
        None,
        BenchOptions(rounds=30),
    )


def measured(ms: float, unit: str = "tensorrt", **more: Any) -> Measured:
    warm = Warm(
        runtime="TensorRT", batch=1, burst=3, load_ms=5, first_ms=9, warmup=10, settled=True
    )
    ready = ReadyEvent(artifact="0" * 64, ready=warm, unit=unit, **more)
    return Measured(ready=ready, rounds=((ms,) * 3,) * 30, peak_rss_mb=12.0)


def recorded(request: Asked, *mine: Measured) -> Recorded:
    hashes = [a.manifest.sha256 for a in request.artifacts]
    artifacts = dict(zip(hashes, mine, strict=True))
    return Recorded("job", HERE, artifacts=artifacts, during=During(cores=6), done=True)


def row(request: Asked, mine: Measured, folder: Path, **after: Any) -> BenchResult:
    later = request.facts.model_copy(update=after)
    return report(request, recorded(request, mine), later, folder).results[0]


def test_a_quiet_run_on_the_unit_asked_for_is_valid(tmp_path: Path) -> None:
    request = asked("fp32", "w8a8-static")
    found = report(request, recorded(request, measured(4.0), measured(2.0)), FACTS, tmp_path)
    assert [r.valid for r in found.results] == [True, True]
    assert {r.evidence for r in found.results} == {"device"}
    assert found.results[1].latency_ms and found.results[1].latency_ms.p50 == 2
    forward, _ = found.ratios
    assert (forward.a, forward.median) == ("w8a8-static", 0.5)
    assert found.environment == HERE and found.eval is None


def test_a_fallback_is_not_valid_for_the_unit(tmp_path: Path) -> None:
    whole = row(asked("fp32"), measured(4.0, "cpu"), tmp_path)
    assert not whole.valid and (whole.unit_asked, whole.unit) == ("tensorrt", "cpu")
    assert any("tensorrt was asked for, but it ran on the cpu" in r for r in whole.reasons)
    units = {"tensorrt": {"Conv": 40}, "cpu": {"Erf": 12, "Softmax": 3}}
    part = row(asked("fp32"), measured(4.0, units=units), tmp_path)
    assert not part.valid
    assert any("15 on the cpu (Erf, Softmax)" in r for r in part.reasons)
    gpu = row(asked("fp32"), measured(4.0, units={"gpu": {"Conv": 1}}), tmp_path)
    assert gpu.valid, "TensorRT's rest on CUDA is the same hardware"


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ({"power_mode": "MAXN"}, "the power mode changed from 15W to MAXN"),
        ({"thermal_status": 4}, "throttled for heat (status 4)"),
        ({"dozing": True}, "the device dozed"),
    ],
)
def test_a_device_that_was_disturbed(after: dict[str, Any], said: str, tmp_path: Path) -> None:
    found = row(asked("fp32"), measured(4.0), tmp_path, **after)
    assert not found.valid and any(said in reason for reason in found.reasons)


def test_energy_is_that_of_the_rail_that_feeds_everything(tmp_path: Path) -> None:
    request = asked("fp32")
    sha256 = request.artifacts[0].manifest.sha256
    told = [("idle", 3000), (f"load {sha256}", 7900), (f"load {sha256}", 8100), ("between", 1)]
    rows = [{"t": i, "during": d, "line": LINE.format(mw=mw)} for i, (d, mw) in enumerate(told)]
    (tmp_path / SENSORS).write_text("".join(json.dumps(r) + "\n" for r in rows))
    mine = replace(measured(4.0), load=Load(artifact=sha256, seconds=2.0, inferences=500))
    found = row(request, mine, tmp_path).telemetry
    assert found is not None and found.samples == 2
    assert found.power_w["VDD_IN"] == pytest.approx(8.0)
    assert found.idle_power_w == pytest.approx(3.0)
    assert found.energy_mj == pytest.approx(8.0 * 2 / 500 * 1000)
    without = asked("fp32", whole_rail="")
    other = row(without, mine, tmp_path).telemetry
    assert other is not None and other.energy_mj is None


def test_under_emulation_no_time_is_told(tmp_path: Path) -> None:
    request = asked("fp32", "w8a8-static", emulator="qemu-aarch64")
    found = report(request, recorded(request, measured(4.0), measured(2.0)), FACTS, tmp_path)
    text = found.model_dump_json()
    assert found.ratios == () and "4.0" not in text and {r.n for r in found.results} == {0}


def test_what_is_missing_is_an_error(tmp_path: Path) -> None:
    request = asked("fp32")
    whole = recorded(request, measured(4.0))
    for broken in (replace(whole, done=False), replace(whole, artifacts={})):
        with pytest.raises(DeviceError, match="Do the same again"):
            report(request, broken, FACTS, tmp_path)


def test_logits_are_as_many_as_asked_and_finite(tmp_path: Path) -> None:
    path, values = tmp_path / "logits", np.zeros((2, 3), "<f4")
    values.tofile(path)
    assert read_logits(path, 2, 3, "fp32 on orin").shape == (2, 3)
    with pytest.raises(DeviceError, match="fp32 on orin gave 24 bytes of logits; 3 images"):
        read_logits(path, 3, 3, "fp32 on orin")
    values[1, 2] = np.inf
    values.tofile(path)
    with pytest.raises(DeviceError, match="1 of 2 images that are not finite"):
        read_logits(path, 2, 3, "fp32 on orin")
