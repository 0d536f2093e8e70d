"""The devices of the tests are aarch64 machines with real protocols, and leave nothing behind.

The tests of devices use most of what these test: here the rest is a campaign.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import signal
import subprocess
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from peers.machine import Machine, wait_for

if TYPE_CHECKING:
    from adbutils import AdbDevice
    from asyncssh import SSHClientConnection
    from peers.adbd import AdbPeer
    from peers.sshd import SshPeer

pytestmark = pytest.mark.peers
TESTS = Path(__file__).parents[1]


def device(peer: AdbPeer) -> AdbDevice:
    from adbutils import AdbClient

    return AdbClient("127.0.0.1", peer.server_port).device(peer.serial)


def adb(peer: AdbPeer, command: str) -> tuple[int, str, str]:
    done = device(peer).shell2(command, v2=True)
    return done.returncode, done.stdout, done.stderr


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_ssh_tells_output_errors_and_codes_apart(jetson: SshPeer) -> None:
    assert jetson.ssh("uname -m; uname -r; echo no >&2; exit 7") == (
        7,
        "aarch64\n5.15.148-tegra\n",
        "no\n",
    )


@pytest.mark.campaign
def test_the_other_user_has_no_privileges(jetson: SshPeer) -> None:
    assert jetson.ssh("id -un", "nano") == (0, "nano\n", "")
    assert jetson.ssh("echo x > /etc/x", "nano")[0] == 1
    assert jetson.ssh("jetson_clocks --show", "nano") == (
        1,
        "Error: Run this script(/usr/bin/jetson_clocks) as a root user\n",
        "",
    )


@pytest.mark.campaign
def test_another_host_key_is_refused(jetson: SshPeer) -> None:
    import asyncssh

    known = jetson.known_hosts.read_text()
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    jetson.known_hosts.write_text(f"{jetson.host} {other}")
    try:
        with pytest.raises(asyncssh.HostKeyNotVerifiable):
            jetson.ssh("true")
    finally:
        jetson.known_hosts.write_text(known)


def test_adb_tells_output_errors_and_codes_apart(phone: AdbPeer) -> None:
    assert adb(phone, "uname -m; uname -r; echo no >&2; exit 9") == (
        9,
        "aarch64\n6.1.75-android14-11\n",
        "no\n",
    )


@pytest.mark.campaign
def test_files_go_to_and_fro_by_ssh(jetson: SshPeer, tmp_path: Path) -> None:
    blob = secrets.token_bytes(5_000_000)
    (tmp_path / "blob").write_bytes(blob)

    async def use(connection: SSHClientConnection) -> None:
        async with connection.start_sftp_client() as sftp:
            await sftp.put(str(tmp_path / "blob"), f"{jetson.home}/blob")
            await sftp.get(f"{jetson.home}/blob", str(tmp_path / "back"))

    jetson.session(use)
    assert sha256((tmp_path / "back").read_bytes()) == sha256(blob)
    assert jetson.ssh(f"sha256sum {jetson.home}/blob")[1].split()[0] == sha256(blob)
    assert sha256(jetson.path(f"{jetson.home}/blob").read_bytes()) == sha256(blob)


@pytest.mark.campaign
def test_files_go_to_and_fro_by_adb(phone: AdbPeer, tmp_path: Path) -> None:
    blob = secrets.token_bytes(5_000_000)
    (tmp_path / "blob").write_bytes(blob)
    remote = "/data/local/tmp/blob"
    device(phone).sync.push(str(tmp_path / "blob"), remote)
    device(phone).sync.pull(remote, str(tmp_path / "back"))
    assert sha256((tmp_path / "back").read_bytes()) == sha256(blob)
    assert adb(phone, f"sha256sum {remote}")[1].split()[0] == sha256(blob)
    assert sha256(phone.path(remote).read_bytes()) == sha256(blob)


@pytest.mark.campaign
def test_a_cut_cable_silences_it_until_it_is_mended(jetson: SshPeer) -> None:
    async def use(connection: SSHClientConnection) -> str:
        jetson.cut()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connection.run("true"), 1)
        jetson.mend()
        return str((await connection.run("echo again")).stdout)

    try:
        assert jetson.session(use) == "again\n"  # the very same connection
    finally:
        jetson.mend()
    assert jetson.ssh("true")[0] == 0


@pytest.mark.campaign
def test_a_command_outlives_the_daemon_and_ends_with_the_machine(jetson: SshPeer) -> None:
    import asyncssh

    async def use(connection: SSHClientConnection) -> None:
        await connection.create_process("exec sleep 4711")
        await asyncio.to_thread(wait_for, "the command", lambda: "sleep 4711" in running())
        jetson.kill_daemon()
        await asyncio.wait_for(connection.wait_closed(), 30)

    def running() -> list[str]:
        return jetson.processes()

    jetson.session(use)
    assert running() == ["sleep 4711"]
    with pytest.raises((OSError, asyncssh.Error)):
        jetson.ssh("true")
    jetson.restart_daemon()
    assert jetson.ssh("pgrep -a sleep")[1].endswith("sleep 4711\n")
    jetson.reboot()
    assert "sleep 4711" not in running()


@pytest.mark.campaign
def test_a_phone_that_loses_its_daemon_comes_back(phone: AdbPeer) -> None:
    phone.kill_daemon()
    wait_for("the loss", lambda: phone.client("shell", "true").returncode != 0)
    phone.restart_daemon()
    assert adb(phone, "echo again")[1] == "again\n"


@pytest.mark.campaign
def test_a_reboot_keeps_the_disk_alone(jetson: SshPeer, phone: AdbPeer) -> None:
    for peer, call in ((jetson, jetson.ssh), (phone, partial(adb, phone))):
        ask = "cat /proc/sys/kernel/random/boot_id; cat /root/kept; ls /tmp /run"
        call("echo yes > /root/kept; echo no > /tmp/lost; echo no > /run/lost")
        before = call(ask)[1].splitlines()
        peer.reboot()
        after = call(ask)[1].splitlines()
        assert before[0] != after[0] and before[1] == after[1] == "yes"
        assert before.count("lost") == 2 and "lost" not in after


@pytest.mark.campaign
def test_a_full_disk_is_full(jetson: SshPeer, phone: AdbPeer) -> None:
    write = "head -c 2000000 /dev/zero > /data/local/tmp/deep/file"
    for peer, call in ((jetson, jetson.ssh), (phone, partial(adb, phone))):
        peer.fill_disk("/data/local/tmp/deep", "1m")
        code, _, errors = call(write)
        assert code != 0 and "No space left on device" in errors
        peer.empty_disk("/data/local/tmp/deep")
        assert call(write)[0] == 0


@pytest.mark.campaign
def test_a_jetson_answers_as_one(jetson: SshPeer) -> None:
    assert jetson.ssh("head -c 18 /etc/nv_tegra_release")[1] == "# R36 (release), R"
    model = jetson.ssh("cat /sys/firmware/devicetree/base/model")[1]
    assert "Jetson Orin Nano" in model and model.endswith("\0")
    jetson.ssh("nvpmodel -m 2")
    assert jetson.ssh("nvpmodel -q")[1] == "NV Power Mode: MAXN_SUPER\n2\n"
    assert "< POWER_MODEL ID=2 NAME=MAXN_SUPER >" in jetson.ssh("nvpmodel -p --verbose")[1]
    lines = jetson.ssh("timeout 2 tegrastats --interval 100")[1].splitlines()
    assert len(lines) > 5 and all("VDD_IN 4996mW/4996mW" in line for line in lines)
    assert "@[305]" in lines[0] and "EMC_FREQ" in lines[0]
    (line, *_) = jetson.ssh("timeout 1 tegrastats", "nano")[1].splitlines()
    assert "@[305]" not in line and "EMC_FREQ" not in line


@pytest.mark.campaign
def test_a_jetsons_clocks_are_locked_and_restored(jetson: SshPeer) -> None:
    slowest = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_min_freq"

    def locked() -> bool:
        shown = jetson.ssh(f"jetson_clocks --show; cat {slowest}")[1]
        assert ("MinFreq=1344000 MaxFreq=1344000" in shown) == shown.endswith("\n1344000\n")
        return "MinFreq=1344000 MaxFreq=1344000" in shown

    assert not locked()
    assert jetson.ssh("jetson_clocks --store /tmp/clocks && jetson_clocks")[0] == 0
    assert locked()
    assert jetson.ssh("jetson_clocks --restore /tmp/clocks")[0] == 0
    assert not locked()
    assert jetson.ssh("jetson_clocks --restore /tmp/nothing")[0] == 1


@pytest.mark.campaign
def test_a_phone_answers_as_one(phone: AdbPeer) -> None:
    assert adb(phone, "getprop ro.soc.model")[1] == "SM8650\n"
    assert device(phone).prop.model == "SM-S921B"
    assert "[ro.soc.manufacturer]: [QTI]" in adb(phone, "getprop")[1].splitlines()
    assert adb(phone, "getprop no.such; getprop no.such other")[1] == "\nother\n"
    assert adb(phone, "setprop debug.x 1; setprop debug.x 2; getprop debug.x")[1] == "2\n"
    assert adb(phone, "setprop ro.soc.model x")[0] == 1
    thermal = adb(phone, "dumpsys thermalservice")[1]
    assert thermal.index("Cached temperatures:") < thermal.index("Current temperatures from HAL:")
    assert "temperature: 320" in adb(phone, "dumpsys battery")[1]
    assert "mState=ACTIVE" in adb(phone, "dumpsys deviceidle")[1]
    assert "Can't find service: nothing" in adb(phone, "dumpsys nothing")[1]
    asleep = "input keyevent KEYCODE_SLEEP; dumpsys power; input keyevent KEYCODE_WAKEUP"
    assert "mWakefulness=Asleep" in adb(phone, asleep)[1]
    assert "mWakefulness=Awake" in adb(phone, "dumpsys power")[1]


@pytest.mark.slow
@pytest.mark.campaign
def test_python_there_has_our_runtimes(jetson: SshPeer) -> None:
    ask = "import numpy, onnxruntime, ai_edge_litert.interpreter; print(onnxruntime.__version__)"
    assert jetson.ssh(f"edge-python -c '{ask}'")[:2] == (0, "1.32.0\n")
    code, _, errors = jetson.ssh("bare-python -c 'import numpy'")
    assert code == 1 and "No module named 'numpy'" in errors


def leftovers(link: str, pids: list[int]) -> list[str]:
    """Mounts, interfaces and processes of a peer that are still on the host."""
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if "peers/" in line]
    links = [name for name in psutil.net_if_addrs() if name == link]
    return [*mounts, *links, *(f"process {pid}" for pid in pids if psutil.pid_exists(pid))]


def test_nothing_is_left(peer_root: Path, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "hello").write_text("hello")
    with closing(Machine(peer_root, tmp_path, "brief")) as machine:
        assert machine.run("cat", "/etc/hello") == "hello"
        assert machine._cable is not None
        link, pids = machine._cable._name, [machine._init, machine._holder.pid]
        assert len(leftovers(link, pids)) == 3
    assert leftovers(link, pids) == []
    assert not (peer_root / "etc" / "hello").exists()


KILLED = """
import sys
from peers.adbd import AdbPeer
from peers.roots import find_root
peer = AdbPeer(find_root())
pids = [peer._init, peer._holder.pid, peer._server.pid, *(pid for pid, _ in peer.running())]
print(peer._cable._name, *pids, flush=True)
sys.stdin.read()
"""


def test_nothing_is_left_of_a_run_that_is_killed(peer_root: Path) -> None:
    env = {**os.environ, "PYTHONPATH": str(TESTS), "EDGENEXT_PEERS": str(peer_root.parent)}
    with subprocess.Popen(
        [sys.executable, "-c", KILLED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=env,
    ) as process:
        assert process.stdout is not None
        link, *words = process.stdout.readline().split()
        pids = [int(pid) for pid in words]
        assert len(leftovers(link, pids)) == 5
        process.send_signal(signal.SIGKILL)
    wait_for("the end of everything", lambda: not leftovers(link, pids))
