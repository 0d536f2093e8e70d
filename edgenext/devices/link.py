"""Probe, push, run and pull on a device, over a channel that may break.

Every request is repeated over a new connection until the device answers it.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TypeVar

import psutil

from edgenext import errors
from edgenext.devices.probes.probe import parse_facts, parse_sections, probe_script
from edgenext.devices.transport import Channel, LinkError, Reply
from edgenext.errors import DeviceError
from edgenext.schema import DeviceFacts
from edgenext.system.files import sha256_file, write_bytes
from edgenext.system.progress import Progress, quiet

PIECE, PIECE_S = 2 << 20, 60.0
"""Bytes of a file that are sent in one call, the most a break can cost; and the call's timeout."""
SPARE_PIECES = 8
"""Pieces may be half as long as asked for, and so many shorter still, before a file is given up."""
ROOM_KIB = 4096
"""Space to leave on the device for the results that it writes."""
PATIENCE_S = 90.0
"""How long a broken link is retried."""
LEASE_S = 180.0
"""Without a call from us for this long, a device ends our job and may be used by others."""
NUMBER = re.compile(r"[0-9]{1,15}")
MAX_LINE, MAX_FILE, MAX_ATTEMPTS = 1 << 24, 1 << 31, 100
"""Bytes of the longest line and largest file from a device; how often it may miss sent pieces."""
POLL_S = (0.2, 2.0)
"""The pause between two looks at a job: at first, and at most."""
SHORT_S, LONG_S = 20.0, 300.0
"""Timeouts of a verb, and of one that reads a complete file or makes many queries."""

T = TypeVar("T")


@dataclass(frozen=True)
class DeviceTask:
    """One program on a device.

    `job` is the folder it runs in; a task with the same name continues the former one. `follow` is
    the file in it whose lines are returned as they are written. The program is ended after
    `limit_s`.
    """

    job: str
    argv: Sequence[str]
    follow: str
    limit_s: float = 3600.0
    clocks: str = ""
    """The command that locks the device's clocks while the program runs; empty to leave them."""


class RebootedError(DeviceError):
    """The device was restarted while a job ran; the files that the job wrote are still on it."""


class DeviceLink:
    """One device over a channel, locked from the first verb that changes it until `close`.

    Args:
        channel: the channel to the device.
        patience_s: how long a broken link is retried.
        lease_s: how long the device waits for a call from us before it ends our job.
        progress: reports the bytes of every file that is pushed.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        patience_s: float = PATIENCE_S,
        lease_s: float = LEASE_S,
        progress: Progress = quiet,
    ) -> None:
        self._channel = channel
        self._patience_s, self._lease_s = patience_s, lease_s
        self._progress = progress
        self._token = secrets.token_hex(8)
        self._agent = resources.files(__package__).joinpath("agent.sh").read_bytes()
        self._locked = self._lost = False
        self.where = channel.where
        self.root = channel.root
        """The folder on the device that all our files are kept in; absolute once it is locked."""

    def __enter__(self) -> DeviceLink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Unlock the device and close the channel."""
        if self._locked:
            self._try_verb("unlock", self._token)
            self._locked = False
        self._channel.close()

    def probe(self, python: str = "python3") -> DeviceFacts:
        """What the device reports of itself and of one of its interpreters; this changes nothing.

        Raises:
            DeviceError: it cannot be reached, or the answer is invalid.
        """
        command = f"sh -s {shlex.quote(self.root)} {shlex.quote(python)}"
        reply = self._retried(lambda: self._channel.call(command, probe_script().encode(), LONG_S))
        return parse_facts(parse_sections(reply.out.decode(errors="replace")))

    def lock(self) -> None:
        """Lock the device; every verb that changes something does so itself.

        Raises:
            DeviceError: another process has locked it.
        """
        if self._locked:
            return
        root = self._call_verb("hello").decode(errors="replace").strip()
        if root != printable(root):
            raise self._invalid(root)
        self.root = root
        owner = f"{_host_prefix()}{os.getpid()}"
        former = self._call_verb("owner").decode(errors="replace").strip().split(" ", 2)[2:]
        dead = former[0] if former and _is_dead(former[0]) else ""
        try:
            self._call_verb("lock", self._token, owner, f"{self._lease_s:.0f}", dead)
        except DeviceError as e:
            if "in use" in e.message:
                raise DeviceError(e.message, "Wait until it is free") from e
            raise
        self._locked = True

    def push(self, source: Path) -> str:
        """Send a file to the device, unless the device has it; its path there.

        Pieces that arrived before a break are not sent again.

        Raises:
            DeviceError: it cannot be reached, or has no space; no piece is left on it.
        """
        self.lock()
        sha256, size = sha256_file(source), source.stat().st_size
        path = f"{self.root}/store/{sha256}"
        count = -(-size // PIECE)
        try:
            for missing in self._attempts(sha256, size, source):
                with source.open("rb") as f:
                    for index in missing:
                        f.seek(index * PIECE)
                        self._send(f.read(PIECE), f"{self.root}/parts/{sha256}/{index}")
                        self._progress(
                            f"sending {source.name}", min((index + 1) * PIECE, size), size
                        )
                self._call_verb("join", sha256, str(count), timeout_s=LONG_S)
        except DeviceError:
            self._try_verb("drop", sha256)
            raise
        return path

    def _attempts(self, sha256: str, size: int, source: Path) -> Iterator[list[int]]:
        """The pieces to send, again and again until the device has the file.

        Raises:
            DeviceError: it has no space, gives an invalid answer, or loses what it is sent.
        """
        for _ in range(MAX_ATTEMPTS):
            missing = self._missing(sha256, size, source)
            if not missing:
                return
            yield missing
        raise DeviceError(f"{self.where} loses the pieces of {source.name} that it is sent")

    def _invalid(self, answer: str) -> DeviceError:
        return DeviceError(f"{self.where} gave an invalid answer: {printable(answer)[-80:]!r}")

    def _missing(self, sha256: str, size: int, source: Path) -> list[int]:
        answer = self._call_verb("need", sha256, str(size), str(PIECE)).decode(errors="replace")
        if answer.split() == ["have"]:
            return []
        free_kib, *pieces = (int(n) if NUMBER.fullmatch(n) else -1 for n in answer.split() or ["?"])
        if min((free_kib, *pieces)) < 0 or max(pieces, default=0) > size // PIECE:
            raise self._invalid(answer)
        needed_kib = (len(pieces) * PIECE + size) // 1024 + ROOM_KIB
        if free_kib < needed_kib:
            raise DeviceError(
                f"{self.where} has no space for {source.name}: {needed_kib // 1024 + 1} MiB are "
                f"needed in {self.root}, {free_kib // 1024} are free",
                "Free some there; `edgenext devices clean` removes all files of edgenext",
            )
        return pieces or [0]

    def _send(self, data: bytes, path: str) -> None:
        command = f"cat > {shlex.quote(path)}"
        reply = self._retried(lambda: self._channel.call(command, data, PIECE_S))
        if reply.code != 0:
            raise DeviceError(f"{self.where} cannot store a file: {_last_line(reply.err)}")

    def run(self, task: DeviceTask) -> Iterator[str]:
        """Run a program on the device and yield the lines it writes, to its end.

        The program runs on while the link is broken, and no line is lost. It is ended when the
        caller stops iterating.

        Raises:
            DeviceError: it cannot be reached, or the program failed or took too long.
        """
        self.lock()
        self._call_verb("tidy", task.job)
        self._call_verb("start", task.job, f"{self._lease_s:.0f}", task.clocks, *task.argv)
        cleanup = "remove"
        try:
            yield from self._lines(task)
            cleanup = ""
        except RebootedError:
            cleanup = "stop"
            raise
        finally:
            if cleanup:
                self._try_verb(cleanup, task.job)

    def _lines(self, task: DeviceTask) -> Iterator[str]:
        offset, rest, pause = 0, b"", POLL_S[0]
        end = time.monotonic() + task.limit_s
        while True:
            answer = self._call_verb("follow", task.job, task.follow, str(offset))
            state, _, data = answer.partition(b"\n")
            offset += len(data)
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > MAX_LINE:
                raise DeviceError(f"{self.where} wrote a line of more than {MAX_LINE} bytes")
            for line in lines:
                yield line.decode(errors="replace")
            if state != b"running":
                self._check_exit(task, state.decode(errors="replace"))
                return
            if time.monotonic() > end:
                raise DeviceError(
                    f"the job on {self.where} was not done after {task.limit_s:g} s and was ended",
                    "Measure less, or allow more time with --time-limit",
                )
            time.sleep(pause)
            pause = min(POLL_S[1], pause * 1.3)

    def _check_exit(self, task: DeviceTask, state: str) -> None:
        """Raise the error of a job that did not end well."""
        if state == "exit 0":
            return
        if state == "rebooted":
            raise RebootedError(
                f"{self.where} was restarted during the job",
                "Run the same command again: it continues the job",
            )
        stderr = _last_line(self.text(task.job, "err"))
        detail = f": {stderr}" if stderr else ""
        if state == "gone":
            raise DeviceError(
                f"the job on {self.where} was killed{detail}",
                "It may have run out of memory: use fewer threads or a smaller batch",
            )
        raise DeviceError(
            f"the job on {self.where} ended with {state.replace('exit', 'exit code')}{detail}"
        )

    def remove(self, job: str) -> None:
        """Remove a job's folder; a job that still runs is ended."""
        self.lock()
        self._call_verb("remove", job)

    def clean(self) -> None:
        """Remove all our files from the device."""
        self.lock()
        self._call_verb("clean", timeout_s=LONG_S)
        self._locked = False

    def attempt(self, command: str) -> None:
        """Try a shell command on the device once, and ignore its output and any failure."""
        if not self._lost:
            with contextlib.suppress(DeviceError, LinkError):
                self._channel.call(command, timeout_s=SHORT_S)

    def text(self, job: str, name: str) -> str:
        """The text of a file in a job's folder; empty where there is none."""
        return self._file(job, name).decode(errors="replace")

    def pull(self, job: str, name: str, target: Path) -> None:
        """Fetch a file of a job's folder, all of it or nothing.

        Raises:
            DeviceError: the device cannot be reached, or there is no such file.
        """
        data = self._file(job, name)
        if not data:
            raise DeviceError(f"{self.where} has no {name}")
        write_bytes(target, data)

    def _file(self, job: str, name: str) -> bytes:
        received = bytearray()
        path = shlex.quote(f"{self.root}/jobs/{job}/{name}")
        size = f"wc -c < {path}"
        reply = self._retried(lambda: self._channel.call(size))
        number = reply.out.decode(errors="replace").strip()
        total = int(number) if reply.code == 0 and NUMBER.fullmatch(number) else 0
        if total > MAX_FILE:
            raise DeviceError(f"{self.where} has {total} bytes of {name}, more than {MAX_FILE}")
        if not total:
            return b""
        for _ in range(2 * (total // PIECE) + SPARE_PIECES):
            piece = f"tail -c +{len(received) + 1} {path} | head -c {PIECE}"
            data = self._retried(partial(self._channel.call, piece, timeout_s=PIECE_S)).out
            received += data
            if len(received) >= total:
                return bytes(received[:total])
            if not data:
                break
        raise DeviceError(f"{self.where} sent only {len(received)} of {total} bytes of {name}")

    def _call_verb(self, verb: str, *arguments: str, timeout_s: float = SHORT_S) -> bytes:
        """The output of a verb of the agent, repeated until it has ended.

        Raises:
            DeviceError: it failed, or the device gives no valid answer.
        """
        return self._retried(lambda: self._call_verb_once(verb, *arguments, timeout_s=timeout_s))

    def _try_verb(self, verb: str, *arguments: str) -> None:
        """Call a verb that cleans up, unless the device is lost: it then cleans up by itself."""
        if not self._lost:
            with contextlib.suppress(DeviceError, LinkError):
                self._call_verb_once(verb, *arguments)

    def _call_verb_once(self, verb: str, *arguments: str, timeout_s: float = SHORT_S) -> bytes:
        nonce = secrets.token_hex(4)
        words = ["sh", "-s", nonce, self.root, verb, *arguments]
        reply = self._channel.call(shlex.join(words), self._agent, timeout_s)
        return self._checked_output(reply, nonce, verb)

    def _checked_output(self, reply: Reply, nonce: str, verb: str) -> bytes:
        """The output before the line with the status of the verb."""
        output, mark, after = reply.out.rpartition(f"\nedgenext {nonce} ".encode())
        status = after.decode(errors="replace").strip()
        if mark and status == "ok":
            return output
        if mark and status.startswith("failed "):
            reason = printable(status.removeprefix("failed "))
            remedy = "Free some there: `edgenext devices clean`" if "space" in reason else ""
            raise DeviceError(f"{self.where}: {reason}", remedy)
        if not reply.out.strip() and reply.code in (-1, 0, 255):
            raise LinkError("it broke in the middle of an answer")
        answer = (reply.out.decode(errors="replace").strip() or reply.err.strip())[-80:]
        raise DeviceError(
            f"{self.where} gave an invalid answer to {verb}: {answer!r}",
            "The device needs a POSIX shell that prints nothing at login",
        )

    def _retried(self, call: Callable[[], T]) -> T:
        """The result of a call, which is repeated over a new connection when the link breaks.

        Raises:
            DeviceError: no call succeeded in the time allowed.
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
                        "Is it on and connected? Run the same command again: it continues the job",
                    ) from e
            time.sleep(pause)
            pause = min(pause * 2, 10.0)


def _host_prefix() -> str:
    """The owner of a lock by user and machine, without the process id."""
    return f"{psutil.Process().username()}@{socket.gethostname()} process "


def _is_dead(owner: str) -> bool:
    """Whether the owner of a lock is a process of this machine that has ended."""
    pid = owner.removeprefix(_host_prefix())
    return owner.startswith(_host_prefix()) and pid.isdecimal() and not psutil.pid_exists(int(pid))


def _last_line(text: str) -> str:
    """The last line of a text that is not blank, safe to print."""
    return next((printable(line) for line in reversed(text.splitlines()) if line.strip()), "")


def printable(text: str) -> str:
    """A device's text without control characters, which could move the cursor or colour it."""
    return errors.printable(text).strip()
