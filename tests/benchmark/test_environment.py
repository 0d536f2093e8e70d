from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from edgenext.benchmark.environment import (
    choose_cpus,
    clock_mhz,
    cpu_model,
    environment,
    isa,
    isa_label,
    quota_count,
    throttle_count,
)
from edgenext.benchmark.machine import MachineMonitor

ALDER_LAKE = """processor\t: 0
vendor_id\t: GenuineIntel
model name\t: 12th Gen Intel(R) Core(TM) i7-12700
flags\t\t: fpu sse sse2 avx avx2 avx_vnni
processor\t: 1
model name\t: another
flags\t\t: fpu
"""
SAPPHIRE_RAPIDS = """model name : Intel(R) Xeon(R) Platinum 8481C
flags : avx2 avx512f avx_vnni avx512_bf16 amx_bf16 avx512_vnni amx_tile amx_int8
"""
ICE_LAKE = "model name: x\nflags: avx2 avx512f avx512_vnni\n"
HASWELL = "model name: x\nflags: avx avx2\n"
PI_5 = """processor : 0
Features : fp asimd evtstrm aes crc32 atomics asimdhp asimdrdm lrcpc dcpop asimddp
Model : Raspberry Pi 5 Model B Rev 1.0
"""
GRAVITON_3 = "Features : fp asimd asimddp sve i8mm bf16\n"


@pytest.mark.parametrize(
    ("text", "sets", "label"),
    [
        (ALDER_LAKE, ("avx2", "avx_vnni"), "AVX-VNNI"),
        (
            SAPPHIRE_RAPIDS,
            (
                "avx2",
                "avx512f",
                "avx512_bf16",
                "avx_vnni",
                "avx512_vnni",
                "amx_bf16",
                "amx_int8",
            ),
            "AMX",
        ),
        (ICE_LAKE, ("avx2", "avx512f", "avx512_vnni"), "AVX512-VNNI"),
        (HASWELL, ("avx2",), "AVX2"),
        (PI_5, ("dotprod",), "dotprod"),
        (GRAVITON_3, ("dotprod", "sve", "i8mm"), "i8mm"),
        ("", (), "unknown ISA"),
    ],
)
def test_instruction_sets_and_their_label(text: str, sets: tuple[str, ...], label: str) -> None:
    assert isa(text) == sets
    assert isa_label(environment().model_copy(update={"isa": isa(text)})) == label


def test_the_cpus_name() -> None:
    assert cpu_model(ALDER_LAKE) == "12th Gen Intel(R) Core(TM) i7-12700"
    assert cpu_model(PI_5) == "Raspberry Pi 5 Model B Rev 1.0"
    assert cpu_model("") == ""


def test_this_machine() -> None:
    env = environment()
    assert env.cpu
    assert env.cores == psutil.cpu_count()
    assert env.memory_gb > 0
    assert env.python == ".".join(map(str, sys.version_info[:3]))
    assert env.packages["numpy"] == np.__version__
    assert {"onnx", "onnxruntime", "torch"} <= set(env.packages)


def sysfs(root: Path, siblings: dict[int, str], speeds: dict[int, int] | None = None) -> Path:
    for cpu, group in siblings.items():
        topology = root / f"cpu{cpu}" / "topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(f"{group}\n")
    for cpu, khz in (speeds or {}).items():
        frequency = root / f"cpu{cpu}" / "cpufreq"
        frequency.mkdir(parents=True)
        (frequency / "cpuinfo_max_freq").write_text(f"{khz}\n")
        (frequency / "scaling_cur_freq").write_text(f"{khz // 2}\n")
    return root


def test_two_threads_take_two_physical_cores(tmp_path: Path) -> None:
    root = sysfs(tmp_path, {0: "0-1", 1: "0-1", 2: "2,3", 3: "2,3"})
    assert choose_cpus(1, [0, 1, 2, 3], root) == (0,)
    assert choose_cpus(2, [0, 1, 2, 3], root) == (0, 2)
    assert choose_cpus(3, [0, 1, 2, 3], root) == (0, 1, 2)
    assert choose_cpus(2, [1, 3], root) == (1, 3)


def test_the_fastest_cores_are_taken_first(tmp_path: Path) -> None:
    big_last = sysfs(
        tmp_path,
        {cpu: str(cpu) for cpu in range(4)},
        {0: 1_800_000, 1: 1_800_000, 2: 2_400_000, 3: 2_400_000},
    )
    assert choose_cpus(2, [0, 1, 2, 3], big_last) == (2, 3)
    assert clock_mhz((0, 3), big_last) == 900


def test_where_sysfs_is_silent(tmp_path: Path) -> None:
    assert choose_cpus(2, [5, 4, 7], tmp_path) == (4, 5)
    assert choose_cpus(4, [0, 1], tmp_path) == (0, 1)
    assert choose_cpus(1, [], tmp_path) == ()
    assert clock_mhz((0,), tmp_path) is None
    assert throttle_count(tmp_path) == 0


def test_throttling_is_summed_over_cores(tmp_path: Path) -> None:
    for cpu, times in ((0, 3), (1, 4)):
        folder = tmp_path / f"cpu{cpu}" / "thermal_throttle"
        folder.mkdir(parents=True)
        (folder / "core_throttle_count").write_text(f"{times}\n")
    assert throttle_count(tmp_path) == 7


def test_quotas_are_summed_from_the_container_to_the_root(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("1:name=systemd:/\n0::/outer/inner\n")
    inner = tmp_path / "fs" / "outer" / "inner"
    inner.mkdir(parents=True)
    (inner / "cpu.stat").write_text("usage_usec 5\nnr_periods 9\nnr_throttled 4\n")
    (inner.parent / "cpu.stat").write_text("usage_usec 5\nnr_throttled 3\n")
    (tmp_path / "fs" / "cpu.stat").write_text("usage_usec 5\n")
    (tmp_path / "cpu.stat").write_text("nr_throttled 100\n")
    assert quota_count(tmp_path / "fs", own) == 7
    own.write_text("4:cpu:/old\n")
    assert quota_count(tmp_path / "fs", own) == 0
    assert quota_count(tmp_path / "fs", tmp_path / "nowhere") == 0


def test_a_busy_process_is_other_load_unless_it_is_ours() -> None:
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        other, own = MachineMonitor((), ()), MachineMonitor((), (busy.pid,))
        time.sleep(1.0)
        used = psutil.Process(busy.pid).cpu_times().user
        as_other, as_own = other.conditions(), own.conditions()
    finally:
        busy.kill()
        busy.wait()
    if used < 0.3:
        pytest.skip("the machine gave the busy process too little time to tell")
    assert as_other.others > 0.1
    assert as_other.others - as_own.others > 0.1
    assert as_other.cores == psutil.cpu_count()


def test_a_process_that_ended_does_not_end_the_watch() -> None:
    short = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    monitor = MachineMonitor((0,), (short.pid,))
    short.communicate(b"\n")
    assert monitor.conditions().others >= 0
