"""The four verbs over a link that may break: what is said is said again until it is answered."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TypeVar

import psutil

from edgenext.devices.probes.probe import facts, script, sections
from edgenext.devices.transports.channel import Channel, LinkError, Reply
from edgenext.devices.transports.transport import Task
from edgenext.errors import DeviceError
from edgenext.schema import DeviceFacts
from edgenext.system.files import sha256_file, write_bytes

PIECE, PIECE_S = 2 << 20, 60.0
"""Bytes of a file that go over the link at once, what a break can cost; and to wait for them."""
ROOM_KIB = 4096
"""Left free on the device: it writes results, too."""
PATIENCE_S = 90.0
"""How long a broken link is tried again."""
LEASE_S = 180.0
"""A device that has not heard of us for so long ends our job and is anybody's."""
POLL_S = (0.2, 2.0)
"""Between two looks at a job: at first, and after a while."""
SHORT_S, LONG_S = 20.0, 300.0
"""To wait for a verb, and for one that reads a whole file or asks a hundred things."""

T = TypeVar("T")

Told = Callable[[int, int], None]
"""Called with how many bytes of a file have arrived and how many there are."""


class RebootedError(DeviceError):
    """The device was started again while a job ran; what the job has written is still there."""


class LinkTransport:
    """One device over a channel, held by a lock from the first verb that changes it to `close`.

    Args:
        channel: the link.
        patience_s: how long a broken link is tried again.
        lease_s: after which the device gives us up.
        told: of the progress of pushes.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        patience_s: float = PATIENCE_S,
        lease_s: float = LEASE_S,
        told: Told | None = None,
    ) -> None:
        self._channel = channel
        self._patience_s, self._lease_s = patience_s, lease_s
        self._told = told
        self._token = secrets.token_hex(8)
        self._agent = resources.files(__package__).joinpath("agent.sh").read_bytes()
        self._held = self._lost = False
        self.where = channel.where
        self.root = channel.root
        """The folder there that all our files are kept in; absolute once the lock is held."""

    def __enter__(self) -> LinkTransport:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the device back and let go of the link."""
        if self._held:
            self._tidy("unlock", self._token)
            self._held = False
        self._channel.close()

    def probe(self, python: str = "python3") -> DeviceFacts:
        """See `Transport`. It takes no lock and writes nothing."""
        command = f"sh -s {shlex.quote(self.root)} {shlex.quote(python)}"
        reply = self._again(lambda: self._channel.call(command, script().encode(), LONG_S))
        return facts(sections(reply.out.decode(errors="replace")))

    def hold(self) -> None:
        """Take the device's lock; every verb that changes something does so by itself.

        Raises:
            DeviceError: somebody else has it.
        """
        if self._held:
            return
        self.root = self._ask("hello").decode(errors="replace").strip()
        owner = f"{_here()}{os.getpid()}"
        former = self._ask("owner").decode(errors="replace").strip().split(" ", 2)[2:]
        dead = former[0] if former and _is_dead(former[0]) else ""
        try:
            self._ask("lock", self._token, owner, f"{self._lease_s:.0f}", dead)
        except DeviceError as e:
            if "in use" in e.message:
                raise DeviceError(e.message, "Wait until it is free") from e
            raise
        self._held = True

    def push(self, source: Path) -> str:
        """See `Transport`. Pieces that arrived before a break are not sent again."""
        self.hold()
        sha256, size = sha256_file(source), source.stat().st_size
        there = f"{self.root}/store/{sha256}"
        count = -(-size // PIECE)
        try:
            while missing := self._missing(sha256, size, source):
                with source.open("rb") as f:
                    for index in missing:
                        f.seek(index * PIECE)
                        self._send(f.read(PIECE), f"{self.root}/parts/{sha256}/{index}")
                        if self._told:
                            self._told(min((index + 1) * PIECE, size), size)
                self._ask("join", sha256, str(count), timeout_s=LONG_S)
        except DeviceError:
            self._tidy("drop", sha256)
            raise
        return there

    def _missing(self, sha256: str, size: int, source: Path) -> list[int]:
        lines = self._ask("need", sha256, str(size), str(PIECE)).decode().split()
        if lines == ["have"]:
            return []
        free, *pieces = map(int, lines)
        needs = (len(pieces) * PIECE + size) // 1024 + ROOM_KIB
        if free < needs:
            raise DeviceError(
                f"{self.where} has no room for {source.name}: {needs // 1024 + 1} MiB are needed "
                f"in {self.root}, {free // 1024} are free",
                "Free some there; `edgenext devices clean` removes everything of ours",
            )
        return pieces or [0]

    def _send(self, data: bytes, path: str) -> None:
        command = f"cat > {shlex.quote(path)}"
        reply = self._again(lambda: self._channel.call(command, data, PIECE_S))
        if reply.code != 0:
            raise DeviceError(f"{self.where} cannot store a file: {_last(reply.err)}")

    def run(self, task: Task) -> Iterator[str]:
        """See `Transport`. The program goes on while the link is broken, and so do its lines."""
        self.hold()
        self._ask("tidy", task.job)
        self._ask("start", task.job, f"{self._lease_s:.0f}", task.clocks, *task.argv)
        leave = "remove"
        try:
            yield from self._lines(task)
            leave = ""
        except RebootedError:
            leave = "stop"
            raise
        finally:
            if leave:
                self._tidy(leave, task.job)

    def _lines(self, task: Task) -> Iterator[str]:
        offset, rest, pause = 0, b"", POLL_S[0]
        end = time.monotonic() + task.limit_s
        while True:
            answer = self._ask("follow", task.job, task.follow, str(offset))
            state, _, data = answer.partition(b"\n")
            offset += len(data)
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                yield line.decode(errors="replace")
            if state != b"running":
                self._judge(task, state.decode(errors="replace"))
                return
            if time.monotonic() > end:
                raise DeviceError(
                    f"{self.where} was not done after {task.limit_s:g} s; the job was ended there",
                    "Ask for less, or give it more time",
                )
            time.sleep(pause)
            pause = min(POLL_S[1], pause * 1.3)

    def _judge(self, task: Task, state: str) -> None:
        if state == "exit 0":
            return
        if state == "rebooted":
            raise RebootedError(
                f"{self.where} was started again in the middle of the job",
                "Do the same again: it goes on with what was done",
            )
        said = _last(self.text(task.job, "err"))
        if state == "gone":
            raise DeviceError(
                f"the job on {self.where} was killed{said and ': '}{said}",
                "It may have run out of memory: use fewer threads or a smaller batch",
            )
        raise DeviceError(
            f"the job on {self.where} ended with {state.replace('exit', 'exit code')}"
            f"{said and ': '}{said}"
        )

    def remove(self, job: str) -> None:
        """Take a job's folder away, the job with it if it still runs."""
        self.hold()
        self._ask("remove", job)

    def clean(self) -> None:
        """Take everything of ours away from the device."""
        self.hold()
        self._ask("clean", timeout_s=LONG_S)
        self._held = False

    def attempt(self, command: str) -> None:
        """Have a line of shell run there once, if that is possible; nobody hears what it says."""
        if not self._lost:
            with contextlib.suppress(DeviceError, LinkError):
                self._channel.call(command, timeout_s=SHORT_S)

    def text(self, job: str, name: str) -> str:
        """A text file of a job's folder; empty where there is none."""
        return self._file(job, name).decode(errors="replace")

    def pull(self, job: str, name: str, target: Path) -> None:
        """See `Transport`."""
        data = self._file(job, name)
        if not data:
            raise DeviceError(f"{self.where} has no {name}")
        write_bytes(target, data)

    def _file(self, job: str, name: str) -> bytes:
        parts: list[bytes] = []
        path = shlex.quote(f"{self.root}/jobs/{job}/{name}")
        size = f"wc -c < {path}"
        told = self._again(lambda: self._channel.call(size))
        total = int(told.out) if told.code == 0 and told.out.strip().isdigit() else 0
        while (have := sum(map(len, parts))) < total:
            piece = f"tail -c +{have + 1} {path} | head -c {PIECE}"
            call = partial(self._channel.call, piece, timeout_s=PIECE_S)
            data = self._again(call).out
            if not data:
                raise DeviceError(f"{self.where} gave only {have} of {total} bytes of {name}")
            parts.append(data)
        return b"".join(parts)[:total]

    def _ask(self, verb: str, *arguments: str, timeout_s: float = SHORT_S) -> bytes:
        """What a verb of the agent printed, asked until it has ended.

        Raises:
            DeviceError: it failed, or the device answers nonsense or not at all.
        """
        return self._again(lambda: self._once(verb, *arguments, timeout_s=timeout_s))

    def _tidy(self, verb: str, *arguments: str) -> None:
        """Say a verb that takes something away, unless the device is lost: it forgets us then."""
        if not self._lost:
            with contextlib.suppress(DeviceError, LinkError):
                self._once(verb, *arguments)

    def _once(self, verb: str, *arguments: str, timeout_s: float = SHORT_S) -> bytes:
        nonce = secrets.token_hex(4)
        words = ["sh", "-s", nonce, self.root, verb, *arguments]
        reply = self._channel.call(shlex.join(words), self._agent, timeout_s)
        return self._proven(reply, nonce, verb)

    def _proven(self, reply: Reply, nonce: str, verb: str) -> bytes:
        """What was printed before the line that says how the verb ended."""
        before, mark, after = reply.out.rpartition(f"\nedgenext {nonce} ".encode())
        said = after.decode(errors="replace").strip()
        if mark and said == "ok":
            return before
        if mark and said.startswith("failed "):
            why = plain(said.removeprefix("failed "))
            remedy = "Free some there: `edgenext devices clean`" if "space" in why else ""
            raise DeviceError(f"{self.where}: {why}", remedy)
        if not reply.out.strip() and reply.code in (-1, 0, 255):
            raise LinkError("it broke in the middle of an answer")
        heard = (reply.out.decode(errors="replace").strip() or reply.err.strip())[-80:]
        raise DeviceError(
            f"{self.where} answered {verb} with nonsense: {heard!r}",
            "Is it a device with a POSIX shell that prints nothing of its own at login?",
        )

    def _again(self, call: Callable[[], T]) -> T:
        """The answer to a call, made again over a new link while the old one breaks.

        Raises:
            DeviceError: the device stays silent for as long as we have patience.
        """
        end = time.monotonic() + self._patience_s
        pause = 0.5
        while True:
            try:
                return call()
            except LinkError as e:
                if time.monotonic() + pause > end:
                    self._lost = True
                    raise DeviceError(
                        f"{self.where} cannot be reached: {e}",
                        "Is it on and connected? Do the same again: it goes on with what was done",
                    ) from e
            time.sleep(pause)
            pause = min(pause * 2, 10.0)


def _here() -> str:
    """Who holds a lock, up to the process."""
    return f"{psutil.Process().username()}@{socket.gethostname()} process "


def _is_dead(owner: str) -> bool:
    """Whether the owner of a lock was a process of this machine that has ended."""
    pid = owner.removeprefix(_here())
    return owner.startswith(_here()) and pid.isdecimal() and not psutil.pid_exists(int(pid))


def _last(text: str) -> str:
    """The last line of a text that says something, safe to print."""
    return next((plain(line) for line in reversed(text.splitlines()) if line.strip()), "")


def plain(text: str) -> str:
    """What a device said, without anything that would move the cursor or colour it."""
    return "".join(c if c.isprintable() else " " for c in text).strip()
