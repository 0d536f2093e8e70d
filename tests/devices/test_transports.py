"""One contract for all transports over a link: each test runs unchanged over each of them."""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from devices.ways import ADB_ROOT, LINKED, MARK, REMOTE, SSH_ROOT, Way, way

from edgenext.devices.transports.link import PIECE, LinkTransport
from edgenext.devices.transports.transport import Task
from edgenext.errors import DeviceError

PEERS = [pytest.param(name, marks=[pytest.mark.peers] if name in REMOTE else []) for name in LINKED]
OTHERS = [pytest.param(name, marks=pytest.mark.peers) for name in REMOTE]


@pytest.fixture(params=PEERS)
def there(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Way]:
    """A device over each transport."""
    found = way(request.param, request, tmp_path)
    yield found
    found.end()


@pytest.fixture(params=OTHERS)
def far(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Way]:
    """A device whose link can be cut."""
    found = way(request.param, request, tmp_path)
    yield found
    found.peer.mend()
    found.end()


@pytest.fixture
def blob(tmp_path: Path) -> Path:
    """A file of a little more than two pieces."""
    path = tmp_path / "a name with 'quotes' and $(touch pwned).onnx"
    path.write_bytes(os.urandom(2 * PIECE + 1234))
    return path


def shell(script: str, job: str = "job", **options: float) -> Task:
    return Task(job, ("sh", "-c", script, MARK), "out", **options)


def eventually(true: object, seconds: float = 20) -> bool:
    assert callable(true)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.1)
    return False


def test_probe_says_what_the_device_is(there: Way) -> None:
    facts = there.transport().probe("python3")
    assert facts.machine == os.uname().machine if there.peer is None else "aarch64"
    assert facts.cores >= 1 and facts.memory_mb > 0 and facts.boot_id
    assert bool(facts.emulator) == (there.peer is not None)
    assert not there.root().exists(), "a probe writes nothing"


def test_a_file_arrives_whole_and_only_once(there: Way, blob: Path) -> None:
    sent: list[int] = []
    link = there.transport(told=lambda done, _: sent.append(done))
    path = link.push(blob)
    size = blob.stat().st_size
    assert sent == [PIECE, 2 * PIECE, size]
    stored = there.root() / "store" / Path(path).name
    assert hashlib.sha256(stored.read_bytes()).hexdigest() == Path(path).name
    assert link.push(blob) == path and len(sent) == 3
    link.close()
    assert there.left() == []


def test_an_empty_file_arrives_too(there: Way, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    path = there.transport().push(empty)
    assert (there.root() / "store" / Path(path).name).read_bytes() == b""


def test_lines_come_while_the_program_runs(there: Way) -> None:
    lines = there.transport().run(shell("echo one; sleep 2; echo 'two  $HOME'; printf half"))
    start = time.monotonic()
    assert next(lines) == "one"
    first = time.monotonic() - start
    assert list(lines) == ["two  $HOME"]
    assert first < time.monotonic() - start - 1


def test_files_of_a_job_come_back(there: Way, tmp_path: Path) -> None:
    link = there.transport()
    size = PIECE + 77
    list(link.run(shell(f"head -c {size} /dev/urandom > blob; sha256sum < blob")))
    link.pull("job", "blob", tmp_path / "back")
    stored = (there.root() / "jobs/job/blob").read_bytes()
    assert (tmp_path / "back").read_bytes() == stored and len(stored) == size
    with pytest.raises(DeviceError, match="has no nothing"):
        link.pull("job", "nothing", tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()
    link.remove("job")
    link.close()
    assert there.left() == []


def test_arguments_are_not_read_by_any_shell(there: Way) -> None:
    hostile = ["$(touch pwned)", "`id`", "; exit 9", "a'b\"c", "two\nlines", "*", "", "-n", "ä"]
    script = 'for a in "$@"; do printf "<%s>" "$a"; done; echo'
    task = Task("job", ("sh", "-c", script, MARK, *hostile), "out")
    told = "\n".join(there.transport().run(task))
    assert told == "".join(f"<{a}>" for a in hostile)


def test_a_program_that_fails_says_why_and_leaves_nothing(there: Way) -> None:
    link = there.transport()
    with pytest.raises(DeviceError, match="ended with exit code 3: it was the tide"):
        list(link.run(shell("echo all is well; echo 'it was the tide' >&2; exit 3")))
    link.close()
    assert there.left() == []


def test_what_takes_too_long_is_ended_there(there: Way) -> None:
    link = there.transport()
    start = time.monotonic()
    with pytest.raises(DeviceError, match="not done after 2 s; the job was ended there"):
        list(link.run(shell("sleep 500 & sleep 500", limit_s=2)))
    assert time.monotonic() - start < 30
    assert eventually(lambda: there.processes() == []), there.processes()
    link.close()
    assert there.left() == []


def test_who_stops_listening_ends_the_program(there: Way) -> None:
    lines = there.transport().run(shell("while true; do echo on; sleep 1; done"))
    assert next(lines) == "on" and there.processes()
    lines.close()  # type: ignore[attr-defined]
    assert eventually(lambda: there.processes() == []), there.processes()


def test_a_program_that_is_killed_is_told_of(there: Way) -> None:
    with pytest.raises(DeviceError, match=r"was killed.*may have run out of memory"):
        list(there.transport().run(shell("echo on; kill -9 0; sleep 60")))


def test_a_job_that_has_ended_is_not_run_again(there: Way) -> None:
    link = there.transport()
    task = shell("echo once >> ran; cat ran")
    assert list(link.run(task)) == ["once"]
    assert list(link.run(task)) == ["once"]
    assert (there.root() / "jobs/job/ran").read_text() == "once\n"


def test_a_job_that_failed_goes_on_with_what_it_wrote(there: Way) -> None:
    link = there.transport()
    script = "echo step >> done; [ $(wc -l < done) -ge 2 ] && cat done"
    list(link.run(shell("exit 0", job="other")))
    job = there.root() / "jobs/job"
    job.mkdir(parents=True)
    (job / "done").write_text("step\n")
    assert list(link.run(shell(script))) == ["step", "step"]


def test_two_hosts_cannot_use_a_device_at_once(there: Way) -> None:
    first, second = there.transport(), there.transport()
    first.hold()
    with pytest.raises(DeviceError, match=r"in use by \w+@\S+ process \d+, heard \d+ s ago"):
        second.hold()
    first.close()
    second.hold()


def test_of_many_that_come_at_once_one_gets_the_device(there: Way) -> None:
    links = [there.transport() for _ in range(4)]
    refused: list[DeviceError] = []

    def hold(link: LinkTransport) -> None:
        try:
            link.hold()
        except DeviceError as e:
            refused.append(e)

    threads = [threading.Thread(target=hold, args=(link,)) for link in links]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 3 and all("in use by" in e.message for e in refused), refused


def test_a_lock_that_was_never_finished_holds_nobody_up(there: Way) -> None:
    first = there.transport()
    first.hold()
    first.close()
    (there.root() / "lock").mkdir()
    there.transport().hold()
    assert (there.root() / "lock/owner").is_file()


def test_who_was_not_heard_for_long_loses_the_device(there: Way) -> None:
    first, second = there.transport(lease_s=2), there.transport()
    lines = first.run(shell("while true; do echo on; sleep 1; done"))
    next(lines)
    time.sleep(4)
    second.hold()
    assert eventually(lambda: there.processes() == []), there.processes()
    first.close()
    assert (there.root() / "lock").exists(), "the one that lost it does not take it away"


def test_a_job_whose_host_is_gone_ends_by_itself(there: Way) -> None:
    link = there.transport(lease_s=3)
    lines = link.run(shell("while true; do echo on; sleep 1; done"))
    next(lines)
    assert there.processes()
    assert eventually(lambda: there.processes() == [], 30), there.processes()


def test_no_room_is_seen_before_anything_is_sent(there: Way, blob: Path) -> None:
    if there.peer is None:
        pytest.skip("the disk of this machine is not to be filled")
    there.peer.fill_disk(str(_inside(there)), "3m")
    try:
        link = there.transport()
        with pytest.raises(DeviceError, match=r"has no room for .*MiB are needed"):
            link.push(blob)
        link.close()
        assert there.left() == []
    finally:
        there.peer.empty_disk(str(_inside(there)))


def test_a_disk_that_fills_up_leaves_no_piece(
    there: Way, blob: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if there.peer is None:
        pytest.skip("the disk of this machine is not to be filled")
    monkeypatch.setattr("edgenext.devices.transports.link.ROOM_KIB", -1_000_000)
    there.peer.fill_disk(str(_inside(there)), "3m")
    try:
        link = there.transport()
        with pytest.raises(DeviceError, match=r"[Nn]o space left"):
            link.push(blob)
        link.close()
        assert there.left() == []
    finally:
        there.peer.empty_disk(str(_inside(there)))


def _inside(there: Way) -> str:
    """The folder of our files by its name on the device."""
    return f"{there.peer.home}/{SSH_ROOT}" if there.name == "ssh" else ADB_ROOT


def test_a_link_cut_in_mid_transfer_goes_on(far: Way, blob: Path) -> None:
    sent: list[int] = []

    def told(done: int, total: int) -> None:
        sent.append(done)
        if len(sent) == 1:
            far.peer.cut()
            threading.Timer(8, far.peer.mend).start()

    link = far.transport(told=told, patience_s=120)
    path = link.push(blob)
    assert sorted(set(sent)) == [PIECE, 2 * PIECE, blob.stat().st_size]
    assert sent.count(PIECE) == 1, "what had arrived is not sent again"
    stored = far.root() / "store" / Path(path).name
    assert hashlib.sha256(stored.read_bytes()).hexdigest() == Path(path).name
    link.close()
    assert far.left() == []


def test_a_link_cut_in_mid_run_goes_on(far: Way) -> None:
    link = far.transport(patience_s=120)
    script = "i=0; while [ $i -lt 20 ]; do i=$((i+1)); echo $i; sleep 1; done"
    lines = link.run(shell(script))
    seen = list(itertools.islice(lines, 2))
    far.peer.cut()
    threading.Timer(8, far.peer.mend).start()
    seen += lines
    assert seen == [str(i) for i in range(1, 21)], "every line once, and the program ran on"


def test_a_link_that_stays_cut_is_given_up(far: Way, blob: Path) -> None:
    link = far.transport(patience_s=3)
    link.hold()
    far.peer.cut()
    with pytest.raises(DeviceError, match=r"cannot be reached.*goes on with what was done"):
        link.push(blob)


def test_a_device_that_starts_again_says_so_and_resumes(far: Way) -> None:
    link = far.transport(patience_s=120)
    script = "echo step >> steps; wc -l < steps; [ $(wc -l < steps) -ge 2 ] || sleep 500"
    lines = link.run(shell(script))
    assert next(lines).strip() == "1"
    far.peer.reboot()
    with pytest.raises(DeviceError, match="was started again in the middle of the job"):
        list(lines)
    link.close()
    again = far.transport()
    assert [line.strip() for line in again.run(shell(script))] == ["1", "2"]


def test_nonsense_is_no_answer(there: Way) -> None:
    link = there.transport()
    call = link._channel.call

    def noisy(command: str, stdin: bytes = b"", timeout_s: float = 60.0) -> object:
        return call("echo 'Welcome! You have mail.' #" + command, b"", timeout_s)

    link._channel.call = noisy  # type: ignore[method-assign,assignment]
    try:
        with pytest.raises(DeviceError, match="answered hello with nonsense: 'Welcome"):
            link.hold()
    finally:
        link._channel.call = call  # type: ignore[method-assign]


def test_a_dead_process_of_ours_does_not_hold_a_device(there: Way) -> None:
    there.transport().hold()
    owner = there.root() / "lock/owner"
    token, who = owner.read_text().split(" ", 1)
    owner.write_text(f"{token} {who.rsplit(' ', 1)[0]} 999999999\n")
    second = there.transport()
    second.hold()
    assert isinstance(second, LinkTransport)


def test_what_a_device_says_cannot_colour_or_move_anything(there: Way) -> None:
    script = "printf 'red \\033[31m and \\007 back' >&2; exit 1"
    with pytest.raises(DeviceError) as raised:
        list(there.transport().run(shell(script)))
    assert str(raised.value).isprintable() and "red" in str(raised.value)
