"""The facts of Android devices."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenext.devices.probes import android

SAMPLES = Path(__file__).parent / "samples" / "android"


def sample(name: str) -> str:
    return (SAMPLES / f"{name}.txt").read_text()


def test_a_phone_that_names_its_chip() -> None:
    props = android.properties(sample("getprop_pixel"))
    assert android.soc(props) == "Google Tensor G3"
    assert android.model(props) == "Google Pixel 8 Pro"
    assert android.emulator(props) == ""


def test_a_phone_that_does_not() -> None:
    props = android.properties(sample("getprop_galaxy"))
    assert android.soc(props) == "exynos2400"
    assert android.model(props) == "Samsung SM-S928B"


@pytest.mark.parametrize(
    ("props", "soc"),
    [
        ({"ro.soc.model": "SM8650", "ro.soc.manufacturer": "QTI"}, "QTI SM8650"),
        ({"ro.board.platform": "pineapple"}, "SM8650"),
        ({"ro.hardware.chipname": "SM8450", "ro.board.platform": "taro"}, "SM8450"),
        ({"ro.hardware": "qcom", "ro.soc.model": ""}, "qcom"),
        ({}, ""),
    ],
)
def test_the_chips_name_has_fallbacks(props: dict[str, str], soc: str) -> None:
    assert android.soc(props) == soc


@pytest.mark.parametrize(
    "text",
    [
        "[ro.soc.model]: [ranchu]\n[ro.soc.manufacturer]: [AOSP]",
        "[ro.kernel.qemu]: [1]\r\n",
        "[ro.hardware]: [cutf_cvm]",
    ],
)
def test_emulators(text: str) -> None:
    assert android.emulator(android.properties(text)) == "Android emulator"


def test_only_the_temperatures_of_now_count() -> None:
    text = sample("thermal_samsung").replace("mValue=24.0, mType=1", "mValue=71.5, mType=1", 1)
    assert android.temperatures(text) == {
        "TYPE_CPU": 24.0,
        "TYPE_BATTERY": 24.4,
        "TYPE_SKIN": 25.3,
        "TYPE_USB_PORT": 24.2,
    }
    assert android.thermal_status(text) == 0


def test_an_answer_that_ends_at_the_cached_ones_has_no_temperatures() -> None:
    assert android.temperatures(sample("thermal_shield")) == {}
    assert android.thermal_status(sample("thermal_shield")) == 0


@pytest.mark.parametrize("value", ["-99.9", "-256.0", "0.0", "4200.0", "NaN", "-5700.0", "x"])
def test_values_that_are_no_readings(value: str) -> None:
    text = f"Current temperatures from HAL:\n\tTemperature{{mValue={value}, mType=0, mName=A, m}}\n"
    assert android.temperatures(text) == {}


def test_battery() -> None:
    assert android.battery(sample("battery")) == android.Battery(76.0, True, 29.1)
    draining = sample("battery").replace("status: 2", "status: 3").replace("level: 76", "level: 9")
    assert android.battery(draining) == android.Battery(9.0, False, 29.1)


@pytest.mark.parametrize("text", ["", "level: 94", "level: 94\nscale: 0", "level: 200\nscale: 100"])
def test_batteries_that_say_too_little(text: str) -> None:
    assert android.battery(text).percent is None


def test_screen_and_doze() -> None:
    assert android.screen_on("Power Manager State:\n  mWakefulness=Awake\n") is True
    assert android.screen_on("  mWakefulness=Asleep") is False
    assert android.screen_on("  mWakefulness=Dozing") is False
    assert android.screen_on("Can't find service: power") is None
    assert android.dozing("  mState=ACTIVE mLightState=ACTIVE\n") is False
    assert android.dozing("mState=IDLE\nmLightState=ACTIVE\n") is True
    assert android.dozing("  mState=INACTIVE mLightState=IDLE\n") is True
    assert android.dozing("") is None


@given(st.text())
def test_any_text_never_raises(text: str) -> None:
    props = android.properties(text)
    android.soc(props)
    android.model(props)
    android.emulator(props)
    android.temperatures(text)
    android.temperatures("Current temperatures from HAL:\n" + text)
    android.thermal_status(text)
    android.battery(text)
    android.screen_on(text)
    android.dozing(text)
