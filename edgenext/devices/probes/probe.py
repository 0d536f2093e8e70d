"""A device's facts, from the output of `probe.sh` beside this module."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

from edgenext.benchmark import environment
from edgenext.devices.probes import android, jetson
from edgenext.errors import DeviceError
from edgenext.schema.device import DeviceFacts, DeviceKind

Section = Callable[[str], str]
"""The text of a section by its name; empty where the output has no such section."""

HEADER = re.compile(r"^== ([a-z0-9_]+)\s*$")
END = "end"
"""The last section: without it the output was cut off."""
RUNTIMES = ("onnxruntime", "ai_edge_litert", "tflite_runtime", "openvino")
"""Python packages that our runner can run an artifact with."""
PACKAGES = ("numpy", *RUNTIMES, "tensorrt")
"""Python packages that the probe looks for."""
ARM = ("aarch64", "arm64", "armv7l", "armv8l", "arm")
X86_VENDORS = re.compile(r"^vendor_id\s*:\s*(GenuineIntel|AuthenticAMD|HygonGenuine)", re.MULTILINE)
TENSORRT = re.compile(r"^(?:libnvinfer\d+|tensorrt) (\d+\.\d+\.\d+)", re.MULTILINE)
HEADER_VERSION = r"define (?:NV_TENSORRT|TRT)_{}(?:_ENTERPRISE)?\s+(\d+)"


def probe_script() -> str:
    """The text of the shell script that probes a device."""
    return resources.files(__package__).joinpath("probe.sh").read_text(encoding="utf-8")


def parse_sections(text: str) -> dict[str, str]:
    """The output's sections by name, without the blank lines around them.

    Text before the first section, such as a greeting, is left out; of two sections with the same
    name the first counts.
    """
    lines_of: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in text.replace("\r\n", "\n").split("\n"):
        if match := HEADER.match(line):
            lines = []
            lines_of.setdefault(match[1], lines)
        else:
            lines.append(line)
    return {name: "\n".join(content).strip("\n") for name, content in lines_of.items()}


def parse_facts(parts: Mapping[str, str]) -> DeviceFacts:
    """A device's facts, from the sections.

    Raises:
        DeviceError: the sections do not name the machine.
    """

    def of(name: str) -> str:
        return parts.get(name, "")

    uname = [*of("uname").split("\n"), "", "", ""]
    machine, kernel = uname[0].strip(), uname[1].strip()
    props = android.properties(of("getprop"))
    if not re.fullmatch(r"[A-Za-z0-9_]{2,20}", machine):
        raise DeviceError(
            "the device did not report its machine type",
            "It needs a POSIX shell with uname; check the connection, too",
        )
    software = {"kernel": kernel, **_android_software(props), **_jetson_software(of)}
    python = _python(of("python"))
    software |= _python_software(python)
    kind = _kind(props, software, of)
    cpuinfo = "" if _foreign(machine, of) else of("cpuinfo")
    mode = jetson.power_mode(of("nvpmodel")) or jetson.power_mode(of("jetson_clocks"))
    rails = jetson.rails(of("rails"))
    battery = android.battery(of("battery"))
    locked = jetson.clocks_locked(of("jetson_clocks"))
    chip = jetson.chip(of("model"), of("compatible")) if kind == "jetson" else None
    result = DeviceFacts(
        kind=kind,
        model=android.model(props) or _line(of("model")),
        soc=android.soc(props) or (chip.soc if chip else environment.cpu_model(cpuinfo)),
        machine=machine,
        os=_os(props, of("os_release")),
        cores=_count(of("cpus")),
        memory_mb=_memory_mb(of("memory")),
        disk_free_mb=_disk_free_mb(of("disk")),
        isa=environment.isa(cpuinfo),
        software={name: version for name, version in software.items() if version},
        tools=_tools(of("tools")),
        power_mode=mode,
        power_modes=jetson.power_modes(of("nvpmodel_modes")),
        clocks_locked=jetson.sysfs_locked(of("cpufreq"), of("devfreq"))
        if locked is None
        else locked,
        governors=_governors(of("cpufreq")),
        temperatures_c=android.temperatures(of("thermalservice")) or _zones(of("thermal")),
        thermal_status=android.thermal_status(of("thermalservice")),
        battery_percent=battery.percent,
        charging=battery.charging,
        screen_on=android.screen_on(of("power")),
        dozing=android.dozing(of("deviceidle")),
        providers=_providers(python),
        rails=rails,
        whole_rail=jetson.whole_rail(rails),
        int8=chip.int8 if chip else None,
        emulator=_emulator(machine, props, of),
        boot_id=_line(of("boot_id")),
    )
    return result.model_copy(update={"notes": tuple(_notes(result, python, parts))})


def _kind(props: Mapping[str, str], software: Mapping[str, str], of: Section) -> DeviceKind:
    if props:
        return "android"
    tegra = re.search(r"\bnvidia,tegra\d", of("compatible"))
    return "jetson" if software.get("l4t") or tegra else "linux"


def _android_software(props: Mapping[str, str]) -> dict[str, str]:
    return {
        "android": props.get("ro.build.version.release", ""),
        "android_api": props.get("ro.build.version.sdk", ""),
    }


def _jetson_software(of: Section) -> dict[str, str]:
    """Versions of NVIDIA's software; JetPack's from its own package, or else derived from L4T's."""
    l4t = jetson.l4t_release(of("tegra_release"))
    package = re.search(r"^nvidia-jetpack (\d[\w.]*)", of("packages"), re.MULTILINE)
    return {
        "l4t": l4t,
        "jetpack": package[1] if package else jetson.software_of(l4t).jetpack,
        "tensorrt": _tensorrt(of("packages")),
        "cuda": _cuda(of("cuda")),
    }


def _tensorrt(text: str) -> str:
    if match := TENSORRT.search(text):
        return match[1]
    parts = [re.search(HEADER_VERSION.format(p), text) for p in ("MAJOR", "MINOR", "PATCH")]
    return ".".join(part[1] for part in parts if part) if all(parts) else ""


def _cuda(text: str) -> str:
    """From version.json, or from version.txt of older releases."""
    match = re.search(r'"cuda"\s*:\s*\{[^{}]*"version"\s*:\s*"([\d.]+)"', text) or re.search(
        r"CUDA Version ([\d.]+)", text
    )
    return match[1] if match else ""


def _python(text: str) -> dict[str, dict[str, Any]]:
    """The interpreter and each package by name; of several lines about one the last counts."""
    packages: dict[str, dict[str, Any]] = {}
    for line in text.split("\n"):
        if not line.startswith("{"):
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            packages |= {str(name): v for name, v in value.items() if isinstance(v, dict)}
    return packages


def _python_software(python: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    versions = {n: str(python.get(n, {}).get("version") or "") for n in ("python", *PACKAGES)}
    return {("tensorrt_python" if n == "tensorrt" else n): v for n, v in versions.items()}


def _providers(python: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    names = python.get("onnxruntime", {}).get("providers")
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _os(props: Mapping[str, str], release: str) -> str:
    if version := props.get("ro.build.version.release"):
        return f"Android {version}"
    match = re.search(r'^PRETTY_NAME="?([^"\n]*)', release, re.MULTILINE)
    return match[1] if match else ""


def _line(text: str) -> str:
    """The first line that is not blank, without control characters."""
    lines = (re.sub(r"[\x00-\x1f\x7f]", "", line).strip() for line in text.split("\n"))
    return next(filter(None, lines), "")


def _count(text: str) -> int:
    match = re.match(r"\s*(\d{1,6})\s*$", text)
    return int(match[1]) if match else 0


def _memory_mb(text: str) -> float:
    match = re.search(r"MemTotal:\s*(\d{1,15}) kB", text)
    return int(match[1]) / 1024 if match else 0.0


def _disk_free_mb(text: str) -> float:
    """The free space of the last file system that `df -Pk` lists."""
    free_kib = re.findall(r"\s\d+\s+\d+\s+(\d{1,15})\s+(?:\d+%|-)\s+/", text)
    return int(free_kib[-1]) / 1024 if free_kib else 0.0


def _tools(text: str) -> dict[str, str]:
    rows = (line.split(maxsplit=1) for line in text.split("\n"))
    return {row[0]: row[1] for row in rows if len(row) == 2}


def _governors(text: str) -> tuple[str, ...]:
    """The CPUs' governors, each once."""
    rows = (line.split() for line in text.split("\n"))
    return tuple(dict.fromkeys(row[1] for row in rows if len(row) == 4 and row[1] != "-"))


def _zones(text: str) -> dict[str, float]:
    """Thermal zones in °C by type, where they can be read; of one type the hottest zone."""
    hottest: dict[str, float] = {}
    for line in text.split("\n"):
        match = re.fullmatch(r"thermal_zone\d+ (.+) (-?\d{1,7})", line.strip())
        if not match:
            continue
        degrees = int(match[2]) / 1000
        if -50 < degrees < 150 and degrees != 0:
            hottest[match[1]] = max(degrees, hottest.get(match[1], degrees))
    return hottest


def _emulator(machine: str, props: Mapping[str, str], of: Section) -> str:
    match = re.search(r"/(qemu-[\w-]+)(?: \(deleted\))?\s*$", of("ancestors"), re.MULTILINE)
    if match:
        return match[1]
    if _foreign(machine, of):
        return "an emulator on x86"
    return android.emulator(props)


def _foreign(machine: str, of: Section) -> bool:
    """Whether the CPU differs from the one that programs are built for, as under emulation."""
    return machine in ARM and X86_VENDORS.search(of("cpuinfo")) is not None


def _notes(
    device: DeviceFacts, python: Mapping[str, Mapping[str, Any]], parts: Mapping[str, str]
) -> list[str]:
    """Notes for the user about this device, before anything is measured on it."""
    notes = []
    if END not in parts:
        notes.append("The probe's answer was cut short: some facts are missing.")
    if device.emulator:
        notes.append(f"It runs under {device.emulator}: times mean nothing here.")
    if "python" in parts and "python" not in python:
        lines = parts["python"].split("\n")
        error = next((line for line in lines if line and line[:5] != "code "), "nothing")
        notes.append(f"The Python interpreter there cannot be run: {error.strip()[:200]}.")
    errors = {name: str(python.get(name, {}).get("error", ""))[:300] for name in PACKAGES}
    notes += [f"{n} is there and cannot be imported: {e}." for n, e in errors.items() if e]
    if device.kind == "linux" and all(python.get(name) == {} for name in RUNTIMES):
        notes.append(
            "Its Python has none of onnxruntime, LiteRT and OpenVINO, and our runner needs one: "
            "install it there, or add the device with --python, the interpreter that has it."
        )
    if device.kind == "jetson":
        notes += _jetson_notes(device)
    return notes


def _jetson_notes(device: DeviceFacts) -> list[str]:
    notes = []
    if device.clocks_locked is False:
        notes.append("Clocks are not locked: `sudo jetson_clocks` makes times steadier.")
    elif device.clocks_locked is None:
        notes.append("Whether clocks are locked cannot be read: `jetson_clocks --show` needs root.")
    if device.int8 is False:
        notes.append("Its GPU has no 8-bit arithmetic: TensorRT runs FP16 there, not INT8.")
    if device.rails and not device.whole_rail:
        notes.append("No rail feeds the whole module: energy cannot be given.")
    if "tensorrt" not in device.software:
        ships = jetson.software_of(device.software.get("l4t", "")).tensorrt
        version = f" {ships}" if ships else ""
        notes.append(
            f"TensorRT{version} is not installed: `sudo apt install nvidia-jetpack` has it."
        )
    elif "trtexec" not in device.tools:
        notes.append("trtexec is missing: it comes with the package libnvinfer-bin.")
    return notes
