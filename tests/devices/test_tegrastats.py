"""Lines of tegrastats, of every generation."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenext.devices.probes.tegrastats import (
    Sample,
    parse_sample,
    parse_samples,
    telemetry_summary,
)

SAMPLES = Path(__file__).parent / "samples" / "tegrastats"


def first(name: str) -> Sample:
    return parse_samples((SAMPLES / f"{name}.txt").read_text())[0]


@pytest.mark.parametrize(
    ("name", "cpus", "gpu", "emc_mhz", "ram", "rails"),
    [
        ("tx1", 4, (0, 76), 408, (1179, 3983), {"VDD_IN": 2532, "VDD_CPU": 76, "VDD_GPU": 19}),
        ("nano", 4, (0, 76), 204, (534, 3964), {"POM_5V_IN": 1022, "POM_5V_CPU": 204}),
        ("tx2", 6, (0, 624), 1600, (2344, 7852), {"VDD_IN": 3056, "VDD_SYS_DDR": 883}),
        ("agx_xavier", 8, (0, 318), 665, (721, 31927), {"GPU": 0, "CPU": 311, "SYS5V": 1482}),
        ("xavier_nx", 6, (62, 306), 1600, (4412, 7772), {"VDD_IN": 4067, "VDD_SOC": 1353}),
        ("orin_nx_jetpack5", 8, (0, 611), 2133, (6334, 15388), {"VDD_IN": 5299}),
        ("agx_orin_jetpack5", 12, (0, None), 2133, (1282, 62795), {"VDDQ_VDD2_1V8AO": 301}),
        ("agx_orin_jetpack6", 12, (0, 305), 2133, (29114, 30697), {"VIN_SYS_5V0": 4767}),
        ("agx_orin_user", 12, (0, None), None, (2448, 62840), {"VDD_GPU_SOC": 4940}),
        ("agx_orin_busy_jetpack6", 12, (0, None), 2133, (18207, 62841), {"VDD_CPU_CV": 1607}),
        ("orin_nano_jetpack72", 6, (0, 305), 665, (2850, 7486), {"VDD_IN": 3582}),
        ("thor", 14, (None, None), 665, (4208, 125773), {"VDD_CPU_SOC_MSS": 4165, "VDD_GPU": 0}),
    ],
)
def test_every_generation(
    name: str,
    cpus: int,
    gpu: tuple[float | None, float | None],
    emc_mhz: float | None,
    ram: tuple[float, float],
    rails: dict[str, float],
) -> None:
    sample = first(name)
    assert (sample.ram_mb, sample.ram_total_mb) == ram
    assert len(sample.cpu_percent) == len(sample.cpu_mhz) == cpus
    assert (sample.gpu_percent, sample.gpu_mhz) == gpu
    assert sample.emc_mhz == emc_mhz
    assert rails.items() <= sample.power_mw.items()
    assert sample.temperatures_c
    assert all(20 < c < 60 for c in sample.temperatures_c.values())


def test_cpus_that_are_off_have_no_load() -> None:
    assert first("tx2").cpu_mhz == (345, None, None, 345, 345, 345)
    assert first("tx2").cpu_percent == (1, None, None, 1, 0, 2)


def test_sensors_that_are_off_and_rails_that_lead_nowhere_are_left_out() -> None:
    sample = first("agx_orin_jetpack5")
    assert not sample.temperatures_c.keys() & {"CV0", "CV1", "CV2", "GPU"}
    assert sample.temperatures_c["tj"] == 42.593
    assert set(sample.power_mw) == {
        "VDD_GPU_SOC",
        "VDD_CPU_CV",
        "VIN_SYS_5V0",
        "VDDQ_VDD2_1V8AO",
    }
    assert "PMIC" not in first("nano").temperatures_c


def test_the_power_of_the_moment_is_taken_not_the_average() -> None:
    samples = parse_samples((SAMPLES / "orin_nano_jetpack72.txt").read_text())
    assert [s.power_mw["VDD_IN"] for s in samples] == [3582, 3462, 3462]
    assert samples[1].temperatures_c["cpu"] == 45.375
    assert first("tx1").power_mw["VDD_IN"] == 2532


def test_a_last_line_without_an_end_is_not_taken() -> None:
    line = (SAMPLES / "xavier_nx.txt").read_text()
    assert len(parse_samples(line + line[:200])) == 1
    assert parse_samples(line.rstrip("\n")) == []


@pytest.mark.parametrize(
    "line",
    [
        *("", "\x00\xff\x00", "tegrastats: command not found", "RAM 1/2MB", "x" * 200_000),
        "RAM 1/2MB (lfb 1x4MB) CPU [1%@10,2%@10",
    ],
)
def test_other_lines_are_none(line: str) -> None:
    assert parse_sample(line) is None


def test_summary() -> None:
    samples = parse_samples((SAMPLES / "orin_nano_jetpack72.txt").read_text())
    telemetry = telemetry_summary(
        samples, seconds=3.0, inferences=100, whole_rail="VDD_IN", idle=samples[:1]
    )
    assert (telemetry.seconds, telemetry.samples) == (3.0, 3)
    assert telemetry.power_w["VDD_IN"] == pytest.approx((3.582 + 2 * 3.462) / 3)
    assert telemetry.energy_mj == pytest.approx(telemetry.power_w["VDD_IN"] * 3000 / 100)
    assert telemetry.idle_power_w == pytest.approx(3.582)
    assert telemetry.temperatures_c["soc0"] == 46.25
    assert telemetry.clocks_mhz == {"cpu": 729, "gpu": 305, "emc": 665}


def test_summary_without_a_rail_of_the_whole_module_has_no_energy() -> None:
    samples = [first("agx_orin_jetpack6")]
    telemetry = telemetry_summary(samples, seconds=1.0, inferences=10)
    assert telemetry.energy_mj is None
    assert telemetry.idle_power_w is None
    assert telemetry.power_w["VDD_GPU_SOC"] == pytest.approx(3.205)
    assert telemetry.clocks_mhz["cpu"] == 2201


@pytest.mark.parametrize("inferences", [0, 5])
def test_summary_of_nothing(inferences: int) -> None:
    telemetry = telemetry_summary([], 0.0, inferences, "VDD_IN")
    assert (telemetry.samples, telemetry.power_w, telemetry.energy_mj) == (0, {}, None)


REAL = sorted(path.read_text() for path in SAMPLES.iterdir())


@given(st.sampled_from(REAL), st.integers(0, 900), st.integers(0, 900), st.text(max_size=20))
def test_damaged_lines_never_raise(line: str, start: int, length: int, junk: str) -> None:
    damaged = line[:start] + junk + line[start + length :]
    telemetry_summary(parse_samples(damaged), 1.0, 1, "VDD_IN")


@given(st.text())
def test_any_text_never_raises(text: str) -> None:
    parse_sample(text)
    parse_samples(text)
