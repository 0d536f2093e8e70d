"""`edgenext bench --device` on emulated boards and phones: their own features and their errors.

Emulation is slow: `make campaign` runs what is marked as a campaign.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import onnxruntime
import pytest
from cli.cli_calls import Cli, Outcome
from devices.added_devices import MODEL, XXS, AddedDevice
from private import private_python
from tiny_artifacts import tiny_artifact

from edgenext import api
from edgenext.devices.bench import screen_kept_on
from edgenext.devices.link import DeviceLink, DeviceTask
from edgenext.devices.transports.adb import AdbChannel
from edgenext.devices.transports.ssh import SshChannel
from edgenext.errors import DeviceError
from edgenext.formats.artifact import Artifact
from edgenext.options import DataOptions, ExportOptions

pytestmark = pytest.mark.peers


def devices_file() -> Path:
    return Path(os.environ["EDGENEXT_DEVICES"])


def bench(cli: Cli, files: list[Artifact], device: str, *options: str) -> Outcome:
    paths = [str(f.path) for f in files]
    return cli.run("bench", *paths, "--device", device, *options)


@pytest.mark.campaign
def test_a_jetson_without_a_gpu_runtime_is_not_valid_for_the_gpu(
    board: AddedDevice, files: list[Artifact], cli: Cli
) -> None:
    result = bench(cli, files[:1], "orin", "--json", "--unit", "gpu")
    assert result.code == 0, result.err
    (row,) = result.json["results"]
    assert (row["unit_asked"], row["unit"], row["valid"]) == ("gpu", "cpu", False)


def test_a_phone_is_awake_while_it_is_measured(handset: AddedDevice) -> None:
    with DeviceLink(AdbChannel(handset.peer.serial)) as link:
        handset.peer.run("input", "keyevent", "KEYCODE_SLEEP")
        facts = link.probe()
        assert facts.screen_on is False
        with screen_kept_on(link, facts):
            assert "mWakefulness=Awake" in handset.peer.run("dumpsys", "power")
        assert "mWakefulness=Asleep" in handset.peer.run("dumpsys", "power"), "as it was"
    assert handset.peer.run("getprop", "debug.stayon").strip() == "false", "woken, and let go"
    handset.peer.run("input", "keyevent", "KEYCODE_WAKEUP")


@pytest.fixture(scope="module")
def tflite(tmp_path_factory: pytest.TempPathFactory) -> list[Artifact]:
    """A small TFLite file."""
    private_python("tflite")
    out = tmp_path_factory.mktemp("tflite")
    return [api.export(XXS, MODEL, ExportOptions(format="tflite"), out=out)]


TOOLS = Path(__file__).parents[1] / "peers" / "tools"


def install(peer: Any, tool: str, device_path: str) -> None:
    path = Path(peer.path(device_path))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text((TOOLS / tool).read_text())
    path.chmod(0o755)


@pytest.mark.campaign
def test_benchmark_model_measures_and_scores(
    handset: AddedDevice, tflite: list[Artifact], cli: Cli
) -> None:
    install(handset.peer, "benchmark_model", "/data/local/tmp/benchmark_model")
    try:
        options = ("--rounds", "1", "--data", "digits", "--limit", "2", "--json")
        result = bench(cli, tflite, "pixel", *options)
    finally:
        Path(handset.peer.path("/data/local/tmp/benchmark_model")).unlink()
    assert result.code == 0, result.err
    (row,) = result.json["results"]
    assert row["runtime"] == "LiteRT benchmark_model" and row["unit"] == "cpu"
    expected = api.evaluate([str(tflite[0].path)], DataOptions("digits", 2))
    assert result.json["eval"]["results"][0]["top1"] == expected.results[0].top1
    assert abs(result.json["eval"]["results"][0]["loss"] - expected.results[0].loss) < 1e-4
    assert handset.leftovers() == []


@pytest.mark.campaign
def test_a_delegate_that_runs_nothing_is_detected(
    handset: AddedDevice, tflite: list[Artifact], cli: Cli
) -> None:
    install(handset.peer, "benchmark_model", "/data/local/tmp/benchmark_model")
    try:
        result = bench(cli, tflite, "pixel", "--rounds", "1", "--unit", "gpu", "--json")
    finally:
        Path(handset.peer.path("/data/local/tmp/benchmark_model")).unlink()
    assert result.code == 0, result.err
    (row,) = result.json["results"]
    assert (row["unit_asked"], row["unit"], row["valid"]) == ("gpu", "cpu", False)


def test_a_phone_without_the_tool_says_where_to_get_it(
    handset: AddedDevice, tflite: list[Artifact], cli: Cli
) -> None:
    result = bench(cli, tflite, "pixel", "--unit", "gpu")
    assert result.code == 3
    assert "pixel has no benchmark_model" in result.err
    assert "android_aarch64_benchmark_model" in result.err


@pytest.fixture
def trtexec(board: AddedDevice) -> Iterator[None]:
    """NVIDIA's tool on the board."""
    path = "/usr/src/tensorrt/bin/trtexec"
    install(board.peer, "trtexec", path)
    yield
    Path(board.peer.path(path)).unlink()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[Artifact]:
    """A network of three layers."""
    return [tiny_artifact(tmp_path_factory.mktemp("tiny"))]


@pytest.mark.slow
@pytest.mark.usefixtures("trtexec")
def test_trtexec_builds_measures_and_scores(
    board: AddedDevice, tiny: list[Artifact], cli: Cli
) -> None:
    options = ("--rounds", "1", "--data", "digits", "--limit", "2", "--json")
    result = bench(cli, tiny, "orin", *options)
    assert result.code == 0, result.err
    (row,) = result.json["results"]
    assert (row["unit"], row["runtime"]) == ("tensorrt", "TensorRT 10.3.0")
    expected = api.evaluate([str(tiny[0].path)], DataOptions("digits", 2))
    assert result.json["eval"]["results"][0]["loss"] == pytest.approx(
        expected.results[0].loss, abs=1e-4
    )
    assert board.leftovers() == []


@pytest.mark.campaign
@pytest.mark.usefixtures("trtexec")
def test_a_second_bench_sends_only_another_script(
    board: AddedDevice, files: list[Artifact], cli: Cli
) -> None:
    options = ("--rounds", "1", "--data", "digits", "--limit", "3", "--json")
    first = bench(cli, files[1:], "orin", *options)
    stored = {p.name for p in (board.root / "store").iterdir()}
    again = bench(cli, files[1:], "orin", "--rounds", "1", "--json")
    assert (first.code, again.code) == (0, 0), first.err + again.err
    expected = api.evaluate([str(files[1].path)], DataOptions("digits", 3))
    assert first.json["eval"]["results"][0]["loss"] == pytest.approx(
        expected.results[0].loss, abs=0.02
    )
    assert len({p.name for p in (board.root / "store").iterdir()} - stored) == 1
    assert board.leftovers() == []


def locked(board: AddedDevice) -> bool:
    state = Path(board.peer.path("/run/clocks"))
    return state.exists() and state.read_text().strip() == "locked"


def record_locks(board: AddedDevice, states: list[bool], end: threading.Event) -> None:
    while not end.is_set():
        states.append(locked(board))
        time.sleep(0.2)


@pytest.mark.campaign
def test_locked_clocks_are_restored(board: AddedDevice, files: list[Artifact], cli: Cli) -> None:
    states: list[bool] = []
    end = threading.Event()
    watch = threading.Thread(target=record_locks, args=(board, states, end))
    watch.start()
    result = bench(cli, files[:1], "orin", "--unit", "cpu", "--lock-clocks", "--json")
    end.set()
    watch.join()
    assert result.code == 0, result.err
    assert any(states), "they were never locked"
    time.sleep(2)
    assert not locked(board)


@pytest.mark.campaign
def test_wheels_for_another_processor_are_an_error(
    board: AddedDevice, files: list[Artifact], cli: Cli
) -> None:
    wrong = "/usr/local/bin/wrong-python"
    site = Path(board.peer.path("/opt/wrong/onnxruntime"))
    site.mkdir(parents=True)
    (site / "__init__.py").write_text(
        "import ctypes\nctypes.CDLL('/opt/wrong/onnxruntime/x86.so')\n"
    )
    native = next(Path(onnxruntime.__file__).parent.glob("capi/*pybind11_state*.so"))
    (site / "x86.so").write_bytes(native.read_bytes()[: 1 << 20])
    board.peer.write(
        wrong,
        '#!/bin/sh\nexec env PYTHONPATH=/opt/wrong:/opt/edgenext-python python3 "$@"\n',
        0o755,
    )
    devices = devices_file()
    devices.write_text(devices.read_text().replace("edge-python", wrong))
    result = bench(cli, files[:1], "orin", "--unit", "cpu")
    assert result.code == 10
    assert "onnxruntime cannot be imported on the device" in result.err
    assert "it is built for another processor" in result.err and "for aarch64" in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert board.leftovers() == []


@pytest.mark.campaign
def test_a_worker_that_is_killed_is_an_error(
    board: AddedDevice, files: list[Artifact], cli: Cli
) -> None:
    def kill_worker() -> None:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            for pid, args in board.peer.running():
                if "--worker" in args:
                    os.kill(pid, signal.SIGKILL)
                    return
            time.sleep(0.05)

    killer = threading.Thread(target=kill_worker)
    killer.start()
    result = bench(cli, files[:1], "orin", "--unit", "cpu")
    killer.join()
    assert result.code == 10
    assert "was killed: the device may have run out of memory" in result.err
    assert board.leftovers() == []


def test_an_unknown_host_key_is_refused(jetson: Any, cli: Cli) -> None:
    address = ("--ssh", f"root@{jetson.host}", "--identity", str(jetson.key))
    result = cli.run("devices", "add", "orin", *address)
    assert result.code == 10 and "is not known (SHA256:" in result.err
    result = cli.run("devices", "add", "orin", *address, "--host-key", "SHA256:other")
    assert result.code == 10 and "not SHA256:other" in result.err
    assert cli.run("devices", "list", "--json").json == []


def test_a_host_that_is_another_now_is_refused(
    board: AddedDevice, tiny: list[Artifact], cli: Cli
) -> None:
    path = devices_file()
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    good = path.read_text()
    path.write_text(good.replace(board.peer.host_key, other))
    result = bench(cli, tiny, "orin")
    path.write_text(good)
    assert result.code == 10 and "has another host key than the one that was added" in result.err


def test_a_key_that_is_not_authorized_is_refused(
    board: AddedDevice, tiny: list[Artifact], cli: Cli, tmp_path: Path
) -> None:
    key = tmp_path / "other_key"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(str(key))
    path = devices_file()
    good = path.read_text()
    path.write_text(good.replace(str(board.peer.key), str(key)))
    result = bench(cli, tiny, "orin")
    path.write_text(good)
    assert result.code == 10 and "refuses the login" in result.err


@pytest.mark.campaign
def test_ctrl_c_leaves_nothing_and_restores_the_clocks(
    board: AddedDevice, files: list[Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-m", "edgenext", "bench", *(str(f.path) for f in files)]
    command += ["--device", "orin", "--unit", "cpu", "--lock-clocks", "--sustained", "5"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    end = time.monotonic() + 90
    while not locked(board) and time.monotonic() < end:
        time.sleep(0.1)
    assert locked(board)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err.strip() == "edgenext: interrupted"
    assert not locked(board)
    assert board.leftovers() == []
    assert not [a for _, a in board.peer.running() if "runner" in " ".join(a) or "job.sh" in a[-1]]


def test_clocks_that_a_user_may_not_lock(board: AddedDevice) -> None:
    channel = SshChannel(f"nano@{board.peer.host}", board.peer.host_key, str(board.peer.key))
    with DeviceLink(channel) as link:
        task = DeviceTask("job", ("true",), "out", clocks="/usr/bin/jetson_clocks")
        with pytest.raises(DeviceError, match=r"the clocks cannot be locked: .*sudo"):
            list(link.run(task))
        link.clean()
    assert not locked(board)


def listen(lines: Iterator[str]) -> None:
    with pytest.raises(DeviceError, match="cannot be reached"):
        list(lines)


@pytest.mark.campaign
def test_clocks_are_restored_when_the_link_is_gone_for_good(board: AddedDevice) -> None:
    channel = SshChannel(f"root@{board.peer.host}", board.peer.host_key, str(board.peer.key))
    with DeviceLink(channel, lease_s=3, patience_s=2) as link:
        task = DeviceTask("job", ("sleep", "500"), "out", clocks="/usr/bin/jetson_clocks")
        lines = link.run(task)
        board.peer.run("true")
        listener = threading.Thread(target=listen, args=(lines,))
        listener.start()
        end = time.monotonic() + 30
        while not locked(board) and time.monotonic() < end:
            time.sleep(0.1)
        assert locked(board)
        board.peer.cut()
        end = time.monotonic() + 30
        while locked(board) and time.monotonic() < end:
            time.sleep(0.1)
        assert not locked(board), "the device restores them by itself"
        assert not [a for _, a in board.peer.running() if "sleep" in a and "500" in a]
        listener.join(60)
    board.peer.mend()


@pytest.mark.campaign
def test_hostile_names_reach_no_shell(
    board: AddedDevice, files: list[Artifact], cli: Cli, tmp_path: Path
) -> None:
    home = board.peer.home
    hostile = tmp_path / "x; touch pwned; $(touch pwned) 'a' \"b\".onnx"
    manifest = files[0].manifest.model_copy(
        update={"labels": tuple(f"$(touch {home}/pwned{i})" for i in range(10))}
    )
    hostile.write_bytes(files[0].path.read_bytes())
    hostile.with_name(hostile.name + ".json").write_text(manifest.model_dump_json())
    result = cli.run("bench", str(hostile), "--device", "orin", "--unit", "cpu", "--json")
    assert result.code == 0, result.err
    assert not list(Path(board.peer.path(home)).glob("pwned*"))
    assert result.json["results"][0]["artifact"] == hostile.stem
