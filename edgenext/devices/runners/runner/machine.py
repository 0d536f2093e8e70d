"""This machine and its load."""

import os
import platform

ISA = (("asimddp", "dotprod"), ("sve", "sve"), ("i8mm", "i8mm"))
"""arm64 instruction sets: names in /proc/cpuinfo and in records, the most useful to INT8 last."""


def read(path):
    """The text of a system file; empty where it cannot be read."""
    try:
        with open(path, errors="replace") as file:
            return file.read().strip("\0\n ")
    except OSError:
        return ""


def field(text, *names):
    """The first value of the first of these keys in lines of `key : value`."""
    for name in names:
        for line in text.splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name and value.strip():
                return value.strip()
    return ""


def multiplies_bf16():
    """Whether the CPU has instructions that multiply bfloat16; None where it does not tell."""
    text = read("/proc/cpuinfo")
    flags = set(field(text, "flags", "Features").split())
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"}) if flags else None


def environment(packages):
    """The machine and the software: the fields of `edgenext.schema.Environment`."""
    cpuinfo = read("/proc/cpuinfo")
    features = set(field(cpuinfo, "Features").split())
    if platform.machine() in ("x86_64", "AMD64"):
        flags = set(field(cpuinfo, "flags").split())
        known = ("avx2", "avx512f", "avx512_bf16", "avx_vnni", "avx512_vnni", "amx_bf16")
        known += ("amx_int8",)
        isa = [name for name in known if name in flags]
    else:
        isa = [name for feature, name in ISA if feature in features]
    tree = "/sys/firmware/devicetree/base/model"
    cpu = read(tree) or field(cpuinfo, "model name", "Hardware", "Model")
    memory = field(read("/proc/meminfo"), "MemTotal").split()
    return {
        "cpu": cpu or platform.machine(),
        "isa": isa,
        "cores": os.cpu_count() or 1,
        "memory_gb": round(int(memory[0]) / 2**20, 1) if memory else 0.0,
        "os": platform.platform(),
        "python": platform.python_version(),
        "packages": packages,
    }


def peak_kib():
    """This process's peak resident memory in KiB, 0 where it cannot be read."""
    words = field(read("/proc/self/status"), "VmHWM").split()
    return int(words[0]) if words else 0


def choose_cpus(threads):
    """The fastest CPUs that this process may use, one for each thread."""
    if not hasattr(os, "sched_getaffinity"):
        return []
    allowed = sorted(os.sched_getaffinity(0))

    def order(cpu):
        speed = read("/sys/devices/system/cpu/cpu%d/cpufreq/cpuinfo_max_freq" % cpu)
        return -(int(speed) if speed.isdigit() else 0), cpu

    return sorted(sorted(allowed, key=order)[:threads])


def busy_seconds(cpus):
    """Seconds that all cores were busy, and that were stolen from these CPUs, since boot."""
    tick = os.sysconf("SC_CLK_TCK")
    busy = stolen = 0
    for line in read("/proc/stat").splitlines():
        words = line.split()
        if words and words[0].startswith("cpu") and words[0] != "cpu":
            values = [int(v) for v in words[1:9]]
            busy += values[0] + values[1] + values[2] + values[5] + values[6]
            if int(words[0][3:]) in cpus or not cpus:
                stolen += values[7]
    return busy / tick, stolen / tick


def process_seconds(pids):
    """Seconds of CPU that these processes have used."""
    tick, total = os.sysconf("SC_CLK_TCK"), 0
    for pid in pids:
        words = read("/proc/%d/stat" % pid).rpartition(")")[2].split()
        if len(words) > 12:
            total += int(words[11]) + int(words[12])
    return total / tick


def clock_mhz(cpus):
    """The lowest current clock of these CPUs; None where the system does not show it."""
    clocks = [read("/sys/devices/system/cpu/cpu%d/cpufreq/scaling_cur_freq" % cpu) for cpu in cpus]
    known = [int(khz) / 1000 for khz in clocks if khz.isdigit() and int(khz)]
    return min(known) if known else None
