"""The release, board, power mode, clocks and rails of Jetsons."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenext.devices.probes import jetson
from edgenext.devices.probes.tegrastats import parse_samples

SAMPLES = Path(__file__).parent / "samples"


def sample(name: str) -> str:
    return (SAMPLES / "jetson" / f"{name}.txt").read_text()


@pytest.mark.parametrize(
    ("name", "l4t", "jetpack", "generation", "tensorrt", "cuda"),
    [
        ("release_nano", "32.7.6", "4.6.6", 4, "8.2.1", "10.2"),
        ("release_orin", "36.4.3", "6.2", 6, "10.3.0", "12.6"),
    ],
)
def test_releases(
    name: str, l4t: str, jetpack: str, generation: int, tensorrt: str, cuda: str
) -> None:
    assert jetson.l4t_release(sample(name)) == l4t
    assert jetson.software_of(l4t) == jetson.JetsonSoftware(jetpack, generation, tensorrt, cuda)


def test_a_release_without_a_third_number() -> None:
    text = "# R35 (release), REVISION: 5.0, GCID: 1, BOARD: t186ref"
    assert jetson.software_of(jetson.l4t_release(text)).jetpack == "5.1.3"
    assert jetson.software_of("36.4").jetpack == "6.1"


def test_an_unknown_release_is_taken_for_the_last_known_of_its_generation() -> None:
    assert jetson.software_of("36.9.1") == jetson.JetsonSoftware("", 6, "10.3.0", "12.6")
    assert jetson.software_of("35.0.1") == jetson.JetsonSoftware("", 5, "", "")
    assert jetson.software_of("99.1.0") == jetson.JetsonSoftware()


@pytest.mark.parametrize("text", ["", "36", "a.b.c", "-1.2", "9" * 500, "1.2.3.4.5"])
def test_what_is_no_release(text: str) -> None:
    assert jetson.software_of(text) == jetson.JetsonSoftware()


@pytest.mark.parametrize(
    ("model", "soc", "int8"),
    [
        ("NVIDIA Jetson Nano Developer Kit", "tegra210", False),
        ("NVIDIA Jetson TX1", "tegra210", False),
        ("quill", "tegra186", False),
        ("NVIDIA Jetson TX2 NX", "tegra186", False),
        ("NVIDIA Jetson Xavier NX Developer Kit", "tegra194", True),
        ("Jetson-AGX", "tegra194", True),
        ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super", "tegra234", True),
        ("Lanner EAI-I233 Jetson AGX Orin", "tegra234", True),
        ("Jetson AGX Orin for DSBOARD-AGX", "tegra234", True),
        ("NVIDIA Jetson AGX Thor Developer Kit", "tegra264", True),
    ],
)
def test_boards(model: str, soc: str, int8: bool) -> None:
    chip = jetson.chip(model + "\x00")
    assert chip is not None
    assert (chip.soc, chip.int8) == (soc, int8)


def test_the_device_tree_comes_before_a_makers_name() -> None:
    chip = jetson.chip("Orin Lookalike", "acme,board\nnvidia,p3448\nnvidia,tegra210\n")
    assert chip is not None
    assert chip.soc == "tegra210"


@pytest.mark.parametrize("model", ["", "Raspberry Pi 5", "FriendlyElec NanoPi R5S"])
def test_other_boards_have_no_chip(model: str) -> None:
    assert jetson.chip(model) is None


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("NV Power Mode: MAXN_SUPER\n2\n", "MAXN_SUPER"),
        ("NV Fan Mode:quiet\nNV Power Mode: MODE_15W_6CORE\n2\n", "MODE_15W_6CORE"),
        (sample("nvpmodel_verbose"), "MAXN"),
        (sample("clocks_thor_locked"), "MAXN"),
        ("NVPM ERROR: failed to read PARAM", ""),
        ("", ""),
    ],
)
def test_power_mode(text: str, mode: str) -> None:
    assert jetson.power_mode(text) == mode


def test_power_modes() -> None:
    text = "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\nCPU_ONLINE 1\n"
    assert jetson.power_modes(text) == ("15W", "MAXN_SUPER")


@pytest.mark.parametrize(
    ("name", "locked"),
    [
        ("clocks_nano_free", False),
        ("clocks_nano_locked", True),
        ("clocks_orin_nano_free", False),
        ("clocks_thor_locked", True),
    ],
)
def test_clocks(name: str, locked: bool) -> None:
    assert jetson.clocks_locked(sample(name)) is locked


def test_the_first_form_of_jetson_clocks_has_no_idle_states() -> None:
    text = (
        "cpu0: Gonvernor=interactive MinFreq={} MaxFreq=1734000 CurrentFreq=1734000\n"
        "GPU MinFreq=998400000 MaxFreq=998400000 CurrentFreq=998400000\n"
    )
    assert jetson.clocks_locked(text.format(1734000)) is True
    assert jetson.clocks_locked(text.format(102000)) is False


def test_idle_states_or_a_floating_memory_clock_are_not_locked() -> None:
    text = sample("clocks_nano_locked")
    assert jetson.clocks_locked(text.replace("WFI=0 c7=0", "WFI=1 c7=1")) is False
    assert jetson.clocks_locked(text.replace("FreqOverride=1", "FreqOverride=0")) is False


@pytest.mark.parametrize(
    "text", ["", "Error: Run this script(/usr/bin/jetson_clocks) as a root user", "cpu0: Online=1"]
)
def test_clocks_that_cannot_be_read(text: str) -> None:
    assert jetson.clocks_locked(text) is None


def test_clocks_from_sysfs() -> None:
    cpus = "cpu0 schedutil 729600 1344000\ncpu1 schedutil 1344000 1344000"
    gpu = "17000000.gpu nvhost_podgov 306000000 306000000\n15340000.vic wmark 1 2"
    assert jetson.sysfs_locked(cpus, gpu) is False
    assert jetson.sysfs_locked(cpus.replace("729600", "1344000"), gpu) is True
    assert jetson.sysfs_locked(cpus, "") is None
    assert jetson.sysfs_locked("cpu0 - - -", gpu) is None


@pytest.mark.parametrize(
    ("name", "rail"),
    [
        ("tx1", "VDD_IN"),
        ("tx2", "VDD_IN"),
        ("nano", "POM_5V_IN"),
        ("agx_xavier", ""),
        ("xavier_nx", "VDD_IN"),
        ("orin_nx_jetpack5", "VDD_IN"),
        ("agx_orin_jetpack5", ""),
        ("agx_orin_jetpack6", ""),
        ("orin_nano_jetpack72", "VDD_IN"),
        ("thor", ""),
    ],
)
def test_only_some_boards_have_a_rail_of_the_whole_module(name: str, rail: str) -> None:
    (first, *_) = parse_samples((SAMPLES / "tegrastats" / f"{name}.txt").read_text())
    assert jetson.whole_rail(first.power_mw) == rail


def test_rails() -> None:
    assert jetson.rails("VDD_IN\nNC\n\nsum of shunt voltages\nVDD_SOC\nVDD_IN\n") == (
        "VDD_IN",
        "VDD_SOC",
    )


@given(st.text(), st.text())
def test_any_text_never_raises(text: str, other: str) -> None:
    jetson.software_of(jetson.l4t_release(text))
    jetson.software_of(text)
    jetson.chip(text, other)
    jetson.power_mode(text)
    jetson.power_modes(text)
    jetson.clocks_locked(text)
    jetson.sysfs_locked(text, other)
    jetson.whole_rail(jetson.rails(text))
