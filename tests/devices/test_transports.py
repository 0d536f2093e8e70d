"""One contract for the links over all transports: each test runs over each of them.

What depends on the transport runs over emulated machines too; there, the rest is a campaign.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from devices.linked_devices import (
    ADB_ROOT,
    LINKED,
    MARK,
    REMOTE,
    SSH_ROOT,
    LinkedDevice,
    linked_device,
    over,
)

from edgenext.devices.link import PIECE, DeviceLink, DeviceTask
from edgenext.errors import DeviceError

EVERYWHERE = pytest.mark.parametrize("device", over(LINKED, REMOTE), indirect=True)


def cut(*suite: str) -> pytest.MarkDecorator:
    """Over the transports whose links can be cut; a campaign over those not in `suite`."""
    return pytest.mark.parametrize("remote", over(REMOTE, suite), indirect=True)


@pytest.fixture(params=over(LINKED))
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LinkedDevice]:
    """A device over each transport."""
    device = linked_device(request.param, request, tmp_path)
    yield device
    device.end()


@pytest.fixture(params=over(REMOTE))
def remote(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LinkedDevice]:
    """A device whose link can be cut."""
    device = linked_device(request.param, request, tmp_path)
    yield device
    device.peer.mend()
    device.end()


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    """A file of a little more than two pieces."""
    path = tmp_path / "a name with 'quotes' and $(touch pwned).onnx"
    path.write_bytes(os.urandom(2 * PIECE + 1234))
    return path


def shell(script: str, job: str = "job", **options: float) -> DeviceTask:
    return DeviceTask(job, ("sh", "-c", script, MARK), "out", **options)


def eventually(true: object, seconds: float = 20) -> bool:
    assert callable(true)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.1)
    return False


def test_a_probe_identifies_the_device(device: LinkedDevice) -> None:
    facts = device.link().probe("python3")
    assert facts.machine == ("aarch64" if device.peer else os.uname().machine)
    assert facts.cores >= 1 and facts.memory_mb > 0 and facts.boot_id
    assert bool(facts.emulator) == (device.peer is not None)
    assert not device.root().exists(), "a probe writes nothing"


@EVERYWHERE
def test_a_file_arrives_whole_and_only_once(device: LinkedDevice, blob: Path) -> None:
    sent: list[tuple[int, int]] = []
    link = device.link(progress=lambda _, done, total: sent.append((done, total)))
    path = link.push(blob)
    size = blob.stat().st_size
    assert sent == [(PIECE, size), (2 * PIECE, size), (size, size)]
    stored = device.root() / "store" / Path(path).name
    assert hashlib.sha256(stored.read_bytes()).hexdigest() == Path(path).name
    assert link.push(blob) == path and len(sent) == 3
    link.close()
    assert device.leftovers() == []


def test_an_empty_file_arrives_too(device: LinkedDevice, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    path = device.link().push(empty)
    assert (device.root() / "store" / Path(path).name).read_bytes() == b""


def test_lines_come_while_the_program_runs(device: LinkedDevice) -> None:
    lines = device.link().run(shell("echo one; sleep 1.5; echo 'two  $HOME'; printf half"))
    start = time.monotonic()
    assert next(lines) == "one"
    first = time.monotonic() - start
    assert list(lines) == ["two  $HOME"]
    assert first < time.monotonic() - start - 0.75


@EVERYWHERE
def test_files_of_a_job_come_back(device: LinkedDevice, tmp_path: Path) -> None:
    link = device.link()
    size = PIECE + 77
    list(link.run(shell(f"head -c {size} /dev/urandom > blob; sha256sum < blob")))
    link.pull("job", "blob", tmp_path / "back")
    stored = (device.root() / "jobs/job/blob").read_bytes()
    assert (tmp_path / "back").read_bytes() == stored and len(stored) == size
    with pytest.raises(DeviceError, match="has no nothing"):
        link.pull("job", "nothing", tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    link.remove("job")
    link.close()
    assert device.leftovers() == []


@EVERYWHERE
def test_arguments_are_not_read_by_any_shell(device: LinkedDevice) -> None:
    hostile = ["$(touch pwned)", "`id`", "; exit 9", "a'b\"c", "two\nlines", "*", "", "-n", "ä"]
    script = 'for a in "$@"; do printf "<%s>" "$a"; done; echo'
    task = DeviceTask("job", ("sh", "-c", script, MARK, *hostile), "out")
    output = "\n".join(device.link().run(task))
    assert output == "".join(f"<{a}>" for a in hostile)


@EVERYWHERE
def test_a_program_that_fails_says_why_and_leaves_nothing(device: LinkedDevice) -> None:
    link = device.link()
    with pytest.raises(DeviceError, match="ended with exit code 3: it was the tide"):
        list(link.run(shell("echo all is well; echo 'it was the tide' >&2; exit 3")))
    link.close()
    assert device.leftovers() == []


def test_what_takes_too_long_is_ended_there(device: LinkedDevice) -> None:
    link = device.link()
    start = time.monotonic()
    with pytest.raises(DeviceError, match="was not done after 2 s and was ended"):
        list(link.run(shell("sleep 500 & sleep 500", limit_s=2)))
    assert time.monotonic() - start < 30
    assert eventually(lambda: device.processes() == []), device.processes()
    link.close()
    assert device.leftovers() == []


def test_the_program_ends_when_the_caller_stops_iterating(device: LinkedDevice) -> None:
    lines = device.link().run(shell("while true; do echo on; sleep 1; done"))
    assert next(lines) == "on" and device.processes()
    lines.close()  # type: ignore[attr-defined]
    assert eventually(lambda: device.processes() == []), device.processes()


def test_a_program_that_is_killed_is_an_error(device: LinkedDevice) -> None:
    with pytest.raises(DeviceError, match=r"was killed.*may have run out of memory"):
        list(device.link().run(shell("echo on; kill -9 0; sleep 60")))


def test_a_job_that_has_ended_is_not_run_again(device: LinkedDevice) -> None:
    link = device.link()
    task = shell("echo once >> ran; cat ran")
    assert list(link.run(task)) == ["once"]
    assert list(link.run(task)) == ["once"]
    assert (device.root() / "jobs/job/ran").read_text() == "once\n"


def test_a_job_that_failed_goes_on_with_what_it_wrote(device: LinkedDevice) -> None:
    link = device.link()
    script = "echo step >> done; [ $(wc -l < done) -ge 2 ] && cat done"
    list(link.run(shell("exit 0", job="other")))
    job = device.root() / "jobs/job"
    job.mkdir(parents=True)
    (job / "done").write_text("step\n")
    assert list(link.run(shell(script))) == ["step", "step"]


def test_two_hosts_cannot_use_a_device_at_once(device: LinkedDevice) -> None:
    first, second = device.link(), device.link()
    first.lock()
    with pytest.raises(DeviceError, match=r"in use by \w+@\S+ process \d+, last seen \d+ s ago"):
        second.lock()
    first.close()
    second.lock()


def test_of_many_locks_at_once_one_succeeds(device: LinkedDevice) -> None:
    links = [device.link() for _ in range(4)]
    refused: list[DeviceError] = []

    def lock(link: DeviceLink) -> None:
        try:
            link.lock()
        except DeviceError as e:
            refused.append(e)

    threads = [threading.Thread(target=lock, args=(link,)) for link in links]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 3 and all("in use by" in e.message for e in refused), refused


def test_nothing_is_left_after_cleaning(device: LinkedDevice, blob: Path) -> None:
    link = device.link()
    link.push(blob)
    list(link.run(shell("echo on")))
    link.clean()
    link.close()
    assert device.leftovers() == [] and not list(device.root().rglob("store/*"))


def test_an_incomplete_lock_is_replaced(device: LinkedDevice) -> None:
    first = device.link()
    first.lock()
    first.close()
    (device.root() / "lock").mkdir()
    device.link().lock()
    assert (device.root() / "lock/owner").is_file()


def test_an_owner_without_a_sign_loses_the_device(device: LinkedDevice) -> None:
    first, second = device.link(lease_s=2), device.link()
    lines = first.run(shell("while true; do echo on; sleep 1; done"))
    next(lines)
    time.sleep(3.5)
    second.lock()
    assert eventually(lambda: device.processes() == []), device.processes()
    first.close()
    assert (device.root() / "lock").exists(), "the one that lost it does not take it away"


def test_a_job_whose_host_is_gone_ends_by_itself(device: LinkedDevice) -> None:
    link = device.link(lease_s=3)
    lines = link.run(shell("while true; do echo on; sleep 1; done"))
    next(lines)
    assert device.processes()
    assert eventually(lambda: device.processes() == [], 30), device.processes()


@cut("adb")
def test_missing_space_is_an_error_before_anything_is_sent(
    remote: LinkedDevice, blob: Path
) -> None:
    remote.peer.fill_disk(str(_inside(remote)), "3m")
    try:
        link = remote.link()
        with pytest.raises(DeviceError, match=r"has no space for .*MiB are needed"):
            link.push(blob)
        link.close()
        assert remote.leftovers() == []
    finally:
        remote.peer.empty_disk(str(_inside(remote)))


@cut("ssh")
def test_a_disk_that_fills_up_leaves_no_piece(
    remote: LinkedDevice, blob: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgenext.devices.link.ROOM_KIB", -1_000_000)
    remote.peer.fill_disk(str(_inside(remote)), "3m")
    try:
        link = remote.link()
        with pytest.raises(DeviceError, match=r"[Nn]o space left"):
            link.push(blob)
        link.close()
        assert remote.leftovers() == []
    finally:
        remote.peer.empty_disk(str(_inside(remote)))


def _inside(remote: LinkedDevice) -> str:
    """The folder of our files by its name on the device."""
    return f"{remote.peer.home}/{SSH_ROOT}" if remote.name == "ssh" else ADB_ROOT


@cut("ssh")
def test_a_link_cut_in_mid_transfer_goes_on(remote: LinkedDevice, blob: Path) -> None:
    sent: list[int] = []

    def cut_after_first(task: str, done: int, total: int, /) -> None:
        sent.append(done)
        if len(sent) == 1:
            remote.peer.cut()
            threading.Timer(8, remote.peer.mend).start()

    link = remote.link(progress=cut_after_first, patience_s=120)
    path = link.push(blob)
    assert sorted(set(sent)) == [PIECE, 2 * PIECE, blob.stat().st_size]
    assert sent.count(PIECE) == 1, "what had arrived is not sent again"
    stored = remote.root() / "store" / Path(path).name
    assert hashlib.sha256(stored.read_bytes()).hexdigest() == Path(path).name
    link.close()
    assert remote.leftovers() == []


@cut("adb")
def test_a_link_cut_in_mid_run_goes_on(remote: LinkedDevice) -> None:
    link = remote.link(patience_s=120)
    script = "i=0; while [ $i -lt 15 ]; do i=$((i+1)); echo $i; sleep 1; done"
    lines = link.run(shell(script))
    received = list(itertools.islice(lines, 2))
    remote.peer.cut()
    threading.Timer(8, remote.peer.mend).start()
    received += lines
    assert received == [str(i) for i in range(1, 16)], "every line once, and the program ran on"


def test_a_link_that_stays_cut_is_given_up(remote: LinkedDevice, blob: Path) -> None:
    link = remote.link(patience_s=3)
    link.lock()
    remote.peer.cut()
    with pytest.raises(DeviceError, match=r"cannot be reached.*continues the job"):
        link.push(blob)


@cut("adb")
def test_a_restarted_device_is_an_error_and_continues_the_job(remote: LinkedDevice) -> None:
    link = remote.link(patience_s=120)
    script = "echo step >> steps; wc -l < steps; [ $(wc -l < steps) -ge 2 ] || sleep 500"
    lines = link.run(shell(script))
    assert next(lines).strip() == "1"
    remote.peer.reboot()
    with pytest.raises(DeviceError, match="was restarted during the job"):
        list(lines)
    link.close()
    again = remote.link()
    assert [line.strip() for line in again.run(shell(script))] == ["1", "2"]


def test_an_invalid_answer_is_an_error(device: LinkedDevice) -> None:
    link = device.link()
    call = link._channel.call

    def noisy(command: str, stdin: bytes = b"", timeout_s: float = 60.0) -> object:
        return call("echo 'Welcome! You have mail.' #" + command, b"", timeout_s)

    link._channel.call = noisy  # type: ignore[method-assign,assignment]
    try:
        with pytest.raises(DeviceError, match="gave an invalid answer to hello: 'Welcome"):
            link.lock()
    finally:
        link._channel.call = call  # type: ignore[method-assign]


def test_the_lock_of_a_dead_process_is_replaced(device: LinkedDevice) -> None:
    device.link().lock()
    owner = device.root() / "lock/owner"
    token, former = owner.read_text().split(" ", 1)
    owner.write_text(f"{token} {former.rsplit(' ', 1)[0]} 999999999\n")
    second = device.link()
    second.lock()
    assert isinstance(second, DeviceLink)


def test_errors_have_no_control_characters_of_the_device(device: LinkedDevice) -> None:
    script = "printf 'red \\033[31m and \\007 back' >&2; exit 1"
    with pytest.raises(DeviceError) as raised:
        list(device.link().run(shell(script)))
    assert str(raised.value).isprintable() and "red" in str(raised.value)
