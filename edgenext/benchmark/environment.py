"""The machine and the software that a number was measured with."""

from __future__ import annotations

import contextlib
import os
import platform
from importlib import metadata
from pathlib import Path

import psutil

from edgenext.schema import Environment
from edgenext.system.cpu import cpu_flags, cpuinfo, cpuinfo_fields

CPUS = Path("/sys/devices/system/cpu")
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUP = Path("/proc/self/cgroup")
PACKAGES = (
    *("edgenext", "numpy", "onnx", "onnxruntime", "torch"),
    *("ai-edge-litert", "executorch", "openvino"),
)
"""Packages whose versions a timing depends on; those that are installed are recorded."""

ISA_FLAGS = {
    "avx2": "avx2",
    "avx512f": "avx512f",
    "avx512_bf16": "avx512_bf16",
    "avx_vnni": "avx_vnni",
    "avx512_vnni": "avx512_vnni",
    "amx_bf16": "amx_bf16",
    "amx_int8": "amx_int8",
    "asimddp": "dotprod",
    "sve": "sve",
    "i8mm": "i8mm",
}
"""The kernel's name of an instruction set → the name in records; the most useful to INT8 last."""

ISA_LABELS = {
    "amx_int8": "AMX",
    "avx512_vnni": "AVX512-VNNI",
    "avx_vnni": "AVX-VNNI",
    "avx512f": "AVX512",
    "avx2": "AVX2",
    "i8mm": "i8mm",
    "dotprod": "dotprod",
}
"""Instruction sets that decide the speed of INT8 beside FP32, best first, and their labels."""


def environment() -> Environment:
    """This machine and the packages that a measurement depends on.

    Instruction sets are read from /proc/cpuinfo; on other systems `isa` is empty. Packages that
    are not installed are left out.
    """
    text = cpuinfo()
    return Environment(
        cpu=cpu_model(text) or platform.processor() or platform.machine(),
        isa=isa(text),
        cores=psutil.cpu_count() or os.cpu_count() or 1,
        memory_gb=round(psutil.virtual_memory().total / 2**30, 1),
        os=platform.platform(),
        python=platform.python_version(),
        packages=_versions(),
    )


def arithmetic() -> Environment:
    """This machine, as far as sums depend on it: not on its system's version, nor its memory."""
    return environment().model_copy(update={"os": platform.system(), "memory_gb": 0.0})


def isa_label(env: Environment) -> str:
    """A short label for the instructions INT8 runs on, such as `AVX512-VNNI` or `AVX2`."""
    return next((label for name, label in ISA_LABELS.items() if name in env.isa), "unknown ISA")


def cpu_model(text: str) -> str:
    """The CPU's name in the text of /proc/cpuinfo; empty where it has none."""
    fields = cpuinfo_fields(text)
    return next((fields[k] for k in ("model name", "Model", "Hardware") if fields.get(k)), "")


def isa(text: str) -> tuple[str, ...]:
    """The instruction sets in the text of /proc/cpuinfo that matter to INT8, best last."""
    flags = cpu_flags(text)
    return tuple(name for flag, name in ISA_FLAGS.items() if flag in flags)


def choose_cpus(threads: int, allowed: list[int], root: Path = CPUS) -> tuple[int, ...]:
    """The logical CPUs that a measurement with a number of threads is pinned to.

    The fastest cores first, and one thread per physical core before a second: two threads of one
    core share its arithmetic units, and some machines give them consecutive numbers. Without
    information in sysfs, the lowest numbers.
    """

    def order(cpu: int) -> tuple[int, int, int]:
        speed = _number(root / f"cpu{cpu}/cpufreq/cpuinfo_max_freq") or 0
        siblings = _siblings(root / f"cpu{cpu}/topology/thread_siblings_list") & set(allowed)
        return sum(other < cpu for other in siblings), -speed, cpu

    return tuple(sorted(sorted(allowed, key=order)[:threads]))


def clock_mhz(cpus: tuple[int, ...], root: Path = CPUS) -> float | None:
    """The lowest current clock of these CPUs; None where sysfs has none."""
    clocks = [_number(root / f"cpu{cpu}/cpufreq/scaling_cur_freq") for cpu in cpus]
    known = [khz for khz in clocks if khz]
    return min(known) / 1000 if known else None


def throttle_count(root: Path = CPUS) -> int:
    """How often any core was throttled for heat since boot; 0 where sysfs does not count it."""
    return sum(_number(f) or 0 for f in root.glob("cpu*/thermal_throttle/core_throttle_count"))


def quota_count(root: Path = CGROUPS, own_cgroup: Path = OWN_CGROUP) -> int:
    """How often the CPU quota of this process's container, or of one around it, stopped it.

    From `nr_throttled` of control groups version 2; 0 where the system does not count it.
    """
    try:
        lines = own_cgroup.read_text().splitlines()
    except OSError:
        return 0
    path = next((line[3:].strip("/") for line in lines if line.startswith("0::")), None)
    if path is None:
        return 0
    total = 0
    for group in (root / path, *(root / path).parents):
        with contextlib.suppress(OSError):
            rows = (group / "cpu.stat").read_text().splitlines()
            stat = dict(row.split(maxsplit=1) for row in rows)
            total += int(stat.get("nr_throttled", 0))
        if group == root:
            break
    return total


def _versions() -> dict[str, str]:
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _siblings(path: Path) -> set[int]:
    """The CPUs of a sysfs list such as `0,4` or `0-1`."""
    try:
        ranges = [part.split("-") for part in path.read_text().strip().split(",")]
        return {cpu for r in ranges for cpu in range(int(r[0]), int(r[-1]) + 1)}
    except (OSError, ValueError):
        return set()
