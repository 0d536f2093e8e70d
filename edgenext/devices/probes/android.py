"""The facts of an Android device: chip, temperatures, battery, screen and idle state.

Text without the value gives an empty value or None, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

PROPERTY = re.compile(r"^\[([^\]\n]+)\]: \[([^\n]*)\]\r?$", re.MULTILINE)
TEMPERATURE = re.compile(r"^\s*Temperature\{mValue=([^,{}]+), mType=[^,{}]+, mName=([^,{}]+)")
SOC = ("ro.soc.model", "ro.hardware.chipname", "ro.chipname", "ro.board.platform", "ro.hardware")
"""Properties with the chip's name, best first: the first came with Android 12 (API 31)."""
PLATFORMS = {"kalama": "SM8550", "pineapple": "SM8650", "sun": "SM8750", "taro": "SM8450"}
"""Qualcomm's platform name in `ro.board.platform` → chip."""
EMULATORS = {"ranchu", "goldfish", "cutf_cvm", "vsoc_x86_64"}
"""Hardware names of Google's emulators and of Cuttlefish."""
ABSENT = (-99.9, -256.0, 0.0)
"""Values in °C that mean that there is no reading."""
CHARGING, FULL = 2, 5
"""BatteryManager's BATTERY_STATUS_CHARGING and _FULL."""


@dataclass(frozen=True)
class Battery:
    """`percent` of its capacity; `charging` also when it is full and plugged in."""

    percent: float | None = None
    charging: bool | None = None
    temperature_c: float | None = None


def properties(text: str) -> dict[str, str]:
    """The properties that `getprop` lists."""
    return dict(PROPERTY.findall(text))


def soc(props: Mapping[str, str]) -> str:
    """The chip: its manufacturer and model, or the best other name."""
    name = next((props[key] for key in SOC if props.get(key)), "")
    name = PLATFORMS.get(name, name)
    return f"{props.get('ro.soc.manufacturer', '')} {name}".strip()


def model(props: Mapping[str, str]) -> str:
    """The manufacturer and the model, such as `Google Pixel 8 Pro`."""
    maker, name = props.get("ro.product.manufacturer", ""), props.get("ro.product.model", "")
    return name if name.lower().startswith(maker.lower()) else f"{maker} {name}".strip()


def emulator(props: Mapping[str, str]) -> str:
    """The emulator's name; empty for a real device."""
    if "1" in (props.get("ro.kernel.qemu"), props.get("ro.boot.qemu")):
        return "Android emulator"
    names = {props.get(key, "") for key in ("ro.hardware", "ro.soc.model", "ro.boot.hardware")}
    return "Android emulator" if names & EMULATORS else ""


def thermal_status(text: str) -> int | None:
    """The status in `dumpsys thermalservice`, 0 (none) to 6 (shutdown)."""
    match = re.search(r"^[ \t]*Thermal Status:[ \t]*([0-6])[ \t\r]*$", text, re.MULTILINE)
    return int(match[1]) if match else None


def temperatures(text: str) -> dict[str, float]:
    """The hardware's current temperatures in °C in `dumpsys thermalservice`, by name.

    The cached ones above them are from the last change of status, perhaps hours ago. The type is
    ignored: manufacturers number it differently. Voltages and currents of the battery, which are
    listed as temperatures too, are not between −40 and 150.
    """
    _, _, now = text.partition("Current temperatures from HAL:")
    values: dict[str, float] = {}
    for line in now.splitlines()[1:]:
        match = TEMPERATURE.match(line)
        if not match:
            break
        value = _number(match[1])
        if value is not None and value not in ABSENT and -40 < value < 150:
            values[match[2].strip()] = value
    return values


def battery(text: str) -> Battery:
    """The battery in `dumpsys battery`, whose temperature is in tenths of a degree."""
    fields = dict(re.findall(r"^[ \t]*(\w[\w ]*): ([^\n\r]*)", text, re.MULTILINE))
    level, scale = _number(fields.get("level", "")), _number(fields.get("scale", ""))
    tenths, status = _number(fields.get("temperature", "")), _number(fields.get("status", ""))
    known = level is not None and scale is not None and 0 <= level <= scale and scale > 0
    return Battery(
        percent=100 * level / scale if known and level is not None and scale else None,
        charging=None if status is None else status in (CHARGING, FULL),
        temperature_c=tenths / 10 if tenths is not None and -400 < tenths < 1500 else None,
    )


def screen_on(text: str) -> bool | None:
    """Whether the device is awake, in `dumpsys power`."""
    match = re.search(r"^[ \t]*mWakefulness=(\w+)", text, re.MULTILINE)
    return match[1] == "Awake" if match else None


def dozing(text: str) -> bool | None:
    """Whether the device dozes, deeply or lightly, in `dumpsys deviceidle`."""
    match = re.search(
        r"^[ \t]*mState=([A-Z_]+)(?:[ \t]+mLightState=([A-Z_]+))?", text, re.MULTILINE
    )
    if not match:
        return None
    light = match[2] or _light_state(text)
    return match[1] in ("IDLE", "IDLE_MAINTENANCE") or light in ("IDLE", "IDLE_MAINTENANCE")


def _light_state(text: str) -> str:
    match = re.search(r"^[ \t]*mLightState=([A-Z_]+)", text, re.MULTILINE)
    return match[1] if match else ""


def _number(text: str) -> float | None:
    match = re.fullmatch(r"\s*(-?\d{1,9}(?:\.\d{1,9})?)\s*", text)
    return float(match[1]) if match else None
