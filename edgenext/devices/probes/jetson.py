"""The facts of an NVIDIA Jetson: release, board, power mode, clocks and power rails.

Every function takes the text of a file or a command's output. Text without the value gives an empty
value or None, never an error.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

RELEASE = re.compile(r"R(\d{1,4})\s*\(release\),\s*REVISION:\s*(\d{1,4}(?:\.\d{1,4})*)")
CPU_CLOCK = re.compile(r"^cpu\d+:(?P<rest>.*MinFreq=(?P<min>\d+)\s+MaxFreq=(?P<max>\d+).*)$", re.M)
GPU_CLOCK = re.compile(r"^(?:GPU|gpu-gpc-\d+)\s+MinFreq=(\d+)\s+MaxFreq=(\d+)", re.M)


@dataclass(frozen=True)
class Chip:
    """A Jetson's chip; `int8` is whether TensorRT has 8-bit arithmetic on it."""

    soc: str
    name: str
    compute: str
    int8: bool
    models: tuple[str, ...]


@dataclass(frozen=True)
class JetsonSoftware:
    """The software of a release of Jetson Linux; empty where the table does not have it."""

    jetpack: str = ""
    generation: int | None = None
    tensorrt: str = ""
    cuda: str = ""


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("jetson.toml").read_text())


def l4t_release(text: str) -> str:
    """The release of Jetson Linux in the text of /etc/nv_tegra_release, such as 36.4.3."""
    match = RELEASE.search(text)
    return f"{match[1]}.{match[2]}" if match else ""


def software_of(l4t: str) -> JetsonSoftware:
    """The software of a release; for an unknown one, that of the last known of its generation.

    `jetpack` is empty for releases that the table does not name.
    """
    version = _version(l4t)
    if not version:
        return JetsonSoftware()
    table = _table()
    generation = table["generation"].get(str(version[0]))
    parts: dict[str, str] = {}
    for row in table["ships"]:
        since = _version(row["since"])
        if since <= version and table["generation"].get(str(since[0])) == generation:
            parts = row
    return JetsonSoftware(
        jetpack=table["jetpack"].get(".".join(map(str, version)), ""),
        generation=generation,
        tensorrt=parts.get("tensorrt", ""),
        cuda=parts.get("cuda", ""),
    )


def chip(model: str, compatible: str = "") -> Chip | None:
    """The chip of a board, from the device tree's `compatible` or else from the board's name.

    Makers of carrier boards change the name, so that it is searched for the chip's patterns.
    """
    chips = [Chip(**{**row, "models": tuple(row["models"])}) for row in _table()["chip"]]
    for candidate in chips:
        if re.search(rf"\bnvidia,{candidate.soc}\b", compatible):
            return candidate
    name = model.strip(" \t\r\n\x00")
    for candidate in chips:
        if any(re.search(pattern, name, re.IGNORECASE) for pattern in candidate.models):
            return candidate
    return None


def power_mode(text: str) -> str:
    """The mode's name in the output of `nvpmodel -q` or `jetson_clocks --show`.

    The number is ignored: 0 is MAXN on one board and the weakest mode on another.
    """
    names = re.findall(r"NV Power Mode\s*:\s*(\S+)", text)
    return names[-1] if names else ""


def power_modes(text: str) -> tuple[str, ...]:
    """The names in lines such as `< POWER_MODEL ID=1 NAME=25W >`, in order."""
    return tuple(dict.fromkeys(re.findall(r"POWER_MODEL\s+ID=\d+\s+NAME=([^\s>]+)", text)))


def clocks_locked(text: str) -> bool | None:
    """Whether the clocks are locked, in `jetson_clocks --show`; None where that is not shown.

    They are locked when the minimum and the maximum are the same for every CPU in use and for the
    GPU, no idle state is enabled, and the memory's clock is overridden.
    """
    cpus = [m for m in CPU_CLOCK.finditer(text) if "Online=0" not in m["rest"]]
    gpus = GPU_CLOCK.findall(text)
    if not cpus or not gpus:
        return None
    idle = any(
        re.search(r"=[1-9]", m["rest"].partition("IdleStates:")[2]) is not None for m in cpus
    )
    floating = re.search(r"^EMC\b.*FreqOverride=0", text, re.MULTILINE) is not None
    fixed = all(m["min"] == m["max"] for m in cpus) and all(low == high for low, high in gpus)
    return fixed and not idle and not floating


def sysfs_locked(cpufreq: str, devfreq: str) -> bool | None:
    """The same from lines `NAME GOVERNOR MIN MAX` of CPUs and other units, which need no root.

    They do not show idle states and the memory. None where no CPU or no GPU is listed.
    """
    cpus = _limits(cpufreq)
    gpus = [rest for name, *rest in _rows(devfreq) if re.search(r"gpu|gpc|gv11b|gp10b", name)]
    limits = [*cpus, *((low, high) for _, low, high in gpus)]
    if not cpus or not gpus:
        return None
    return all(low == high for low, high in limits)


def rails(text: str) -> tuple[str, ...]:
    """The power rails among lines of labels, without unconnected ones and sums."""
    names = (line.strip() for line in text.splitlines())
    return tuple(dict.fromkeys(n for n in names if re.fullmatch(r"\w+", n) and n != "NC"))


def whole_rail(names: Iterable[str]) -> str:
    """The rail that feeds the whole module; empty where there is none, as on AGX boards."""
    rails = set(names)
    return next((rail for rail in _table()["rails"]["whole"] if rail in rails), "")


def _version(text: str) -> tuple[int, ...]:
    """At least three numbers of a release; empty for other text."""
    if not re.fullmatch(r"\d{1,4}(\.\d{1,4}){1,3}", text):
        return ()
    parts = [int(part) for part in text.split(".")]
    return tuple([*parts, 0, 0][: max(3, len(parts))])


def _rows(text: str) -> list[list[str]]:
    return [row for row in map(str.split, text.splitlines()) if len(row) == 4]


def _limits(text: str) -> list[tuple[str, str]]:
    return [(low, high) for _, _, low, high in _rows(text) if low.isdigit() and high.isdigit()]
