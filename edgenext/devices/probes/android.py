"""What an Android device says of itself: chip, heat, battery, screen and rest.

Text that says nothing gives an empty value or None, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

PROPERTY = re.compile(r"^\[([^\]\n]+)\]: \[([^\n]*)\]\r?$", re.MULTILINE)
TEMPERATURE = re.compile(r"^\s*Temperature\{mValue=([^,{}]+), mType=[^,{}]+, mName=([^,{}]+)")
SOC = ("ro.soc.model", "ro.hardware.chipname", "ro.chipname", "ro.board.platform", "ro.hardware")
"""Where the chip's name is, best first: the first came with Android 12 (API 31)."""
PLATFORMS = {"kalama": "SM8550", "pineapple": "SM8650", "sun": "SM8750", "taro": "SM8450"}
"""Qualcomm's names of platforms → the chip's, for `ro.board.platform`."""
EMULATORS = {"ranchu", "goldfish", "cutf_cvm", "vsoc_x86_64"}
"""Hardware of Google's emulators and of Cuttlefish."""
ABSENT = (-99.9, -256.0, 0.0)
"""°C that stand for no reading."""
CHARGING, FULL = 2, 5
"""BatteryManager's BATTERY_STATUS_CHARGING and _FULL."""


@dataclass(frozen=True)
class Battery:
    """`percent` of what it can hold; `charging` where it gains or is full on a plug."""

    percent: float | None = None
    charging: bool | None = None
    temperature_c: float | None = None


def properties(text: str) -> dict[str, str]:
    """The properties that `getprop` lists."""
    return dict(PROPERTY.findall(text))


def soc(props: Mapping[str, str]) -> str:
    """The chip: its maker and model, or the nearest name that there is."""
    name = next((props[key] for key in SOC if props.get(key)), "")
    name = PLATFORMS.get(name, name)
    return f"{props.get('ro.soc.manufacturer', '')} {name}".strip()


def model(props: Mapping[str, str]) -> str:
    """The maker and the model, such as `Google Pixel 8 Pro`."""
    maker, name = props.get("ro.product.manufacturer", ""), props.get("ro.product.model", "")
    return name if name.lower().startswith(maker.lower()) else f"{maker} {name}".strip()


def emulator(props: Mapping[str, str]) -> str:
    """The emulator it says it is, or nothing."""
    if "1" in (props.get("ro.kernel.qemu"), props.get("ro.boot.qemu")):
        return "Android emulator"
    names = {props.get(key, "") for key in ("ro.hardware", "ro.soc.model", "ro.boot.hardware")}
    return "Android emulator" if names & EMULATORS else ""


def thermal_status(text: str) -> int | None:
    """The status in `dumpsys thermalservice`, 0 (none) to 6 (shutdown)."""
    found = re.search(r"^[ \t]*Thermal Status:[ \t]*([0-6])[ \t\r]*$", text, re.MULTILINE)
    return int(found[1]) if found else None


def temperatures(text: str) -> dict[str, float]:
    """Temperatures in °C that `dumpsys thermalservice` has from the hardware now, by name.

    The cached ones above them are those of the last change of status, hours ago perhaps. The type
    is left out: makers number it differently. Voltages and currents of the battery, which come as
    temperatures too, are not between −40 and 150.
    """
    _, _, now = text.partition("Current temperatures from HAL:")
    found: dict[str, float] = {}
    for line in now.splitlines()[1:]:
        match = TEMPERATURE.match(line)
        if not match:
            break
        value = _number(match[1])
        if value is not None and value not in ABSENT and -40 < value < 150:
            found[match[2].strip()] = value
    return found


def battery(text: str) -> Battery:
    """What `dumpsys battery` says; its temperature is in tenths of a degree."""
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
    """Whether `dumpsys power` says that the device is awake."""
    found = re.search(r"^[ \t]*mWakefulness=(\w+)", text, re.MULTILINE)
    return found[1] == "Awake" if found else None


def dozing(text: str) -> bool | None:
    """Whether `dumpsys deviceidle` says that it rests, deeply or lightly."""
    found = re.search(
        r"^[ \t]*mState=([A-Z_]+)(?:[ \t]+mLightState=([A-Z_]+))?", text, re.MULTILINE
    )
    if not found:
        return None
    light = found[2] or _light(text)
    return found[1] in ("IDLE", "IDLE_MAINTENANCE") or light in ("IDLE", "IDLE_MAINTENANCE")


def _light(text: str) -> str:
    found = re.search(r"^[ \t]*mLightState=([A-Z_]+)", text, re.MULTILINE)
    return found[1] if found else ""


def _number(text: str) -> float | None:
    found = re.fullmatch(r"\s*(-?\d{1,9}(?:\.\d{1,9})?)\s*", text)
    return float(found[1]) if found else None
