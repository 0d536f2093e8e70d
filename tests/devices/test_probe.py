"""The probe's script, and the facts in its output."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgenext.devices.probes import probe
from edgenext.errors import DeviceError

SAMPLES = Path(__file__).parent / "samples"
SHELLS = [["sh"], ["dash"], ["bash"], ["busybox", "sh"], ["mksh"]]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def run_script(
    folder: Path | str, python: str = sys.executable, *more: str, shell: list[str] | None = None
) -> str:
    """The output of the script, which is read from standard input as over ssh."""
    done = subprocess.run(
        [*(shell or ["sh"]), "-s", str(folder), python, *more],
        input=probe.probe_script().encode(),
        capture_output=True,
        timeout=120,
        check=True,
    )
    assert done.stderr == b""
    return done.stdout.decode()


def _run(code: str) -> str:
    command = ["/bin/sh", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


@LINUX
@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_this_machine(shell: list[str], tmp_path: Path) -> None:
    if not shutil.which(shell[0]):
        pytest.skip(f"{shell[0]} is not installed")
    facts = probe.parse_facts(probe.parse_sections(run_script(tmp_path, shell=shell)))
    assert facts.kind == "linux"
    assert facts.machine == platform.machine()
    assert facts.cores == len(os.sched_getaffinity(0))
    assert facts.memory_mb == pytest.approx(psutil.virtual_memory().total / 2**20, rel=0.01)
    free = shutil.disk_usage(tmp_path).free / 2**20
    assert facts.disk_free_mb == pytest.approx(free, rel=0.2, abs=500)
    assert facts.software["kernel"] == platform.release()
    assert facts.software["python"] == platform.python_version()
    assert facts.software["onnxruntime"] == metadata.version("onnxruntime")
    assert "CPUExecutionProvider" in facts.providers
    assert len(facts.boot_id) == 36
    assert facts.os
    assert facts.emulator == ""
    assert facts.notes == ()


@LINUX
def test_the_answer_is_whole_where_nothing_can_hang_on_timeout(tmp_path: Path) -> None:
    script = tmp_path / "probe.sh"
    script.write_text(probe.probe_script())
    code = f"timeout() {{ return 127; }}; set -- {tmp_path} {sys.executable}; . {script}"
    text = _run(code)
    facts = probe.parse_facts(probe.parse_sections(text))
    assert facts.software["onnxruntime"] == metadata.version("onnxruntime")
    assert facts.notes == ()


@LINUX
@pytest.mark.parametrize("guard", ["timeout", ""])
def test_an_interpreter_that_hangs_is_given_up(guard: str, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 100\n")
    python.chmod(0o755)
    script = tmp_path / "probe.sh"
    script.write_text(probe.probe_script())
    code = "" if guard else "timeout() { return 127; }; "
    code += f"set -- {tmp_path} {python} 1; . {script}"
    facts = probe.parse_facts(probe.parse_sections(_run(code)))
    assert facts.machine == platform.machine()
    assert facts.notes == ("The Python interpreter there cannot be run: nothing.",)


@LINUX
def test_no_interpreter(tmp_path: Path) -> None:
    facts = probe.parse_facts(probe.parse_sections(run_script(tmp_path, "/no/such python")))
    (note,) = facts.notes
    assert "cannot be run" in note
    assert "/no/such python" in note


@LINUX
def test_an_interpreter_without_runtimes(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    python.chmod(0o755)
    facts = probe.parse_facts(probe.parse_sections(run_script(tmp_path, str(python))))
    assert facts.software["python"] == platform.python_version()
    (note,) = facts.notes
    assert "none of onnxruntime, LiteRT and OpenVINO" in note
    assert "--python" in note


@LINUX
def test_broken_packages_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = "libonnxruntime.so: cannot open shared object file: wrong architecture"
    for name, code in (
        ("onnxruntime", f"raise ImportError({wrong!r})"),
        ("tflite_runtime", "import no_such_module"),
        ("tensorrt", "import os; os._exit(4)"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    facts = probe.parse_facts(probe.parse_sections(run_script(tmp_path)))
    assert "onnxruntime" not in facts.software
    assert facts.providers == ()
    assert f"onnxruntime is there and cannot be imported: ImportError: {wrong}." in facts.notes
    assert any("No module named 'no_such_module'" in note for note in facts.notes)
    assert any(note.startswith("tensorrt is there") and "died" in note for note in facts.notes)


@LINUX
def test_a_folder_that_is_missing_and_odd(tmp_path: Path) -> None:
    facts = probe.parse_facts(probe.parse_sections(run_script(tmp_path / "a 'b' $(c)")))
    assert facts.disk_free_mb > 0


@LINUX
def test_tools_are_found_in_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    folder.mkdir()
    (folder / "benchmark_model").write_text("")
    (folder / "benchmark_model").chmod(0o755)
    tools = probe.parse_facts(probe.parse_sections(run_script(folder))).tools
    assert tools["benchmark_model"] == f"{folder}/benchmark_model"


def orin() -> dict[str, str]:
    return probe.parse_sections((SAMPLES / "jetson" / "probe_orin_nano_jetpack72.txt").read_text())


def test_an_orin() -> None:
    facts = probe.parse_facts(orin())
    assert facts.kind == "jetson"
    assert facts.soc == "tegra234"
    assert facts.model.endswith("Orin Nano Engineering Reference Developer Kit Super")
    assert facts.software["l4t"] == "39.2.1"
    assert facts.software["jetpack"] == "7.2.1"
    assert facts.software["tensorrt"] == "10.16.2"
    assert facts.software["tensorrt_python"] == "10.16.2.10"
    assert facts.software["cuda"] == "13.2.2"
    assert facts.software["onnxruntime"] == "1.29.0"
    assert facts.tools["trtexec"] == "/usr/src/tensorrt/bin/trtexec"
    assert facts.isa == ("dotprod",)
    assert (facts.power_mode, facts.power_modes) == ("25W", ("15W", "25W", "MAXN_SUPER"))
    assert facts.clocks_locked is False
    assert facts.governors == ("schedutil",)
    assert facts.temperatures_c == {"cpu-thermal": 46.0, "gpu-thermal": 46.7, "tj-thermal": 47.0}
    assert facts.rails == ("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC")
    assert facts.whole_rail == "VDD_IN"
    assert facts.int8 is True
    assert facts.emulator == ""
    assert facts.notes == ("Clocks are not locked: `sudo jetson_clocks` makes times steadier.",)


def test_a_nano_without_tensorrt() -> None:
    parts = {
        **orin(),
        "model": "NVIDIA Jetson Nano Developer Kit",
        "compatible": "nvidia,p3450-0000\nnvidia,tegra210",
        "tegra_release": (SAMPLES / "jetson" / "release_nano.txt").read_text(),
        "packages": "",
        "cuda": "CUDA Version 10.2.300",
        "jetson_clocks": (SAMPLES / "jetson" / "clocks_nano_locked.txt").read_text(),
        "rails": "GPU\nCPU",
    }
    facts = probe.parse_facts(parts)
    assert facts.int8 is False
    assert facts.clocks_locked is True
    assert facts.software["jetpack"] == "4.6.6"
    assert facts.software["cuda"] == "10.2.300"
    assert "tensorrt" not in facts.software
    assert facts.notes == (
        "Its GPU has no 8-bit arithmetic: TensorRT runs FP16 there, not INT8.",
        "No rail feeds the whole module: energy cannot be given.",
        "TensorRT 8.2.1 is not installed: `sudo apt install nvidia-jetpack` has it.",
    )


@pytest.mark.parametrize(
    "header",
    [
        "#define NV_TENSORRT_MAJOR 8 //!< major\n#define NV_TENSORRT_MINOR 2\n"
        "#define NV_TENSORRT_PATCH 1\n",
        "#define TRT_MAJOR_ENTERPRISE 8\n#define TRT_MINOR_ENTERPRISE 2\n"
        "#define TRT_PATCH_ENTERPRISE 1\n#define NV_TENSORRT_MAJOR TRT_MAJOR_ENTERPRISE\n",
    ],
)
def test_tensorrt_from_its_header(header: str) -> None:
    assert probe.parse_facts({**orin(), "packages": header}).software["tensorrt"] == "8.2.1"


def test_a_phone() -> None:
    android = SAMPLES / "android"
    parts = {
        "uname": "aarch64\n5.15.137-android14\nLinux",
        "cpus": "9",
        "memory": "MemTotal:       11817456 kB",
        "cpuinfo": "Features\t: fp asimd asimddp sve i8mm",
        "cpufreq": "cpu0 sched_pixel 324000 1704000\ncpu8 sched_pixel 500000 2914000\ncpu9 - - -",
        "getprop": (android / "getprop_pixel.txt").read_text(),
        "thermalservice": (android / "thermal_samsung.txt").read_text(),
        "battery": (android / "battery.txt").read_text(),
        "power": "  mWakefulness=Asleep",
        "deviceidle": "  mState=ACTIVE mLightState=IDLE",
        "tools": "benchmark_model /data/local/tmp/benchmark_model",
        "disk": "Filesystem 1024-blocks Used Available Capacity Mounted on\n"
        "/dev/block/dm-53  124000000  64000000 60000000      52% /data\n",
        "python": "sh: python3: not found\ncode 127",
        "end": "",
    }
    facts = probe.parse_facts(parts)
    assert (facts.kind, facts.os, facts.soc) == ("android", "Android 14", "Google Tensor G3")
    assert facts.software["android_api"] == "34"
    assert facts.isa == ("dotprod", "sve", "i8mm")
    assert facts.governors == ("sched_pixel",)
    assert facts.temperatures_c["TYPE_SKIN"] == 25.3
    assert (facts.thermal_status, facts.battery_percent, facts.charging) == (0, 76.0, True)
    assert (facts.screen_on, facts.dozing) == (False, True)
    assert facts.disk_free_mb == 60000000 / 1024
    assert facts.int8 is None


@pytest.mark.parametrize(
    ("changes", "emulator"),
    [
        ({"ancestors": "/usr/bin/qemu-aarch64-static\n/usr/bin/bash"}, "qemu-aarch64-static"),
        ({"ancestors": "/usr/libexec/qemu-aarch64 (deleted)"}, "qemu-aarch64"),
        ({"ancestors": "/home/qemu-user/bin/sh"}, ""),
        ({"cpuinfo": "flags : avx2\nvendor_id : AuthenticAMD"}, "an emulator on x86"),
        ({"getprop": "[ro.soc.model]: [ranchu]"}, "Android emulator"),
    ],
)
def test_emulators(changes: dict[str, str], emulator: str) -> None:
    facts = probe.parse_facts({**orin(), **changes})
    assert facts.emulator == emulator
    assert any("times mean nothing" in note for note in facts.notes) == bool(emulator)
    assert "avx2" not in facts.isa


def test_a_cut_answer_says_so() -> None:
    text = (SAMPLES / "jetson" / "probe_orin_nano_jetpack72.txt").read_text()
    facts = probe.parse_facts(probe.parse_sections(text[: text.index("== nvpmodel")]))
    assert facts.software["l4t"] == "39.2.1"
    assert facts.notes[0].startswith("The probe's answer was cut short")


@pytest.mark.parametrize(
    "text",
    [
        *("", "\x00\xff\x00", "Permission denied", "== uname", "x" * 1_000_000, "== end\n"),
        "== uname\nsh: uname: not found\n",
    ],
)
def test_nothing_useful(text: str) -> None:
    with pytest.raises(DeviceError, match="did not report its machine type") as e:
        probe.parse_facts(probe.parse_sections(text))
    assert e.value.exit_code == 10


def test_sections() -> None:
    text = "Welcome!\r\n== a\r\n\r\n x\r\n==  b\n== c d\n== a\nagain\n== e_1 \n"
    assert probe.parse_sections(text) == {"a": " x\n==  b\n== c d", "e_1": ""}


LINES = st.sampled_from(
    sorted(set((SAMPLES / "jetson" / "probe_orin_nano_jetpack72.txt").read_text().split("\n")))
)


@given(st.lists(LINES | st.text(), max_size=60).map("\n".join))
def test_any_answer_gives_facts_or_a_device_error(text: str) -> None:
    try:
        facts = probe.parse_facts(probe.parse_sections("== uname\naarch64\n" + text))
        assert facts.machine == "aarch64"
        probe.parse_facts(probe.parse_sections(text))
    except DeviceError:
        return


@given(st.dictionaries(st.sampled_from([*orin(), "getprop", "battery"]), st.text()))
def test_any_section_may_hold_anything(changes: dict[str, str]) -> None:
    try:
        probe.parse_facts({**orin(), **changes})
    except DeviceError:
        assert "uname" in changes
