"""The CPU of this machine: its name and its instructions, as the kernel reports them."""

from __future__ import annotations

import os
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
BF16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""The kernel's names of instructions that multiply bfloat16: two of x86, one of Arm."""


def cpuinfo() -> str:
    """The text of /proc/cpuinfo; empty on systems without it."""
    return CPUINFO.read_text(errors="replace") if CPUINFO.is_file() else ""


def cpuinfo_fields(text: str) -> dict[str, str]:
    """The first value of each key of /proc/cpuinfo: that of the first core."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    return fields


def cpu_flags(text: str) -> frozenset[str]:
    """The instruction sets in the text of /proc/cpuinfo, by the kernel's names."""
    fields = cpuinfo_fields(text)
    return frozenset(f"{fields.get('flags', '')} {fields.get('Features', '')}".split())


def multiplies_bf16(text: str) -> bool | None:
    """Whether the CPU has instructions that multiply bfloat16; None where it does not tell."""
    flags = cpu_flags(text)
    return bool(flags & BF16) if flags else None


def usable_cpus() -> int:
    """The number of logical CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
