"""Messages between a process and one that it has started: facts as JSON, and arrays.

A message is a line of JSON, then the bytes of the arrays that it announces.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from edgenext import errors
from edgenext.errors import EdgenextError, RuntimeCrashedError, RuntimeFailedError
from edgenext.system.processes import Deadline, end_process

Arrays = dict[str, NDArray[Any]]


class MessageProcess:
    """A process that answers each message on its stdin with one on its stdout.

    It ends when this object is no longer used.

    Args:
        command: of the process.
        variables: its environment.
        name: of the process in messages, such as "the process that runs X".
        remedy: what helps if it crashes.
        timeout_s: without an answer after this time it hangs.
        folder: in which it works; None for this process's own.
    """

    def __init__(
        self,
        command: Sequence[str],
        variables: Mapping[str, str],
        name: str,
        remedy: str,
        timeout_s: float,
        folder: Path | None = None,
    ) -> None:
        self._name, self._remedy = name, remedy
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `_end`
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=dict(variables),
            cwd=folder,
        )
        self._deadline = Deadline(self._process, timeout_s)
        self._finalizer = weakref.finalize(self, _end, self._process, self._log)

    def request(
        self, message: Mapping[str, Any], array: NDArray[Any] | None = None
    ) -> tuple[dict[str, Any], Arrays]:
        """The answer to a request: its facts and its arrays.

        Raises:
            RuntimeCrashedError: the process died or hangs.
            EdgenextError: an error that the process raised.
        """
        # A process that is already dead is seen below: it gives no answer.
        with self._deadline.waiting():
            with contextlib.suppress(BrokenPipeError):
                send(cast(IO[bytes], self._process.stdin), message, {"": array})
            answer = receive(cast(IO[bytes], self._process.stdout))
        if answer is None:
            raise self._crash()
        facts, arrays = answer
        if "error" in facts:
            kind = getattr(errors, facts["error"]["kind"], RuntimeFailedError)
            raise kind(facts["error"]["message"], facts["error"]["remedy"])
        return facts, arrays

    def end(self) -> None:
        """Kill the process: a request that waits for its answer ends as of one that crashed."""
        self._finalizer()

    def _crash(self) -> RuntimeCrashedError:
        """The error of a process that ended without an answer."""
        death = self._deadline.death(self._log)
        remedy = self._remedy
        if death.out_of_memory:
            remedy = "It may have run out of memory: free some, or export with a smaller batch"
        return RuntimeCrashedError(f"{self._name} {death.cause}", remedy)


def _end(process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    end_process(process)
    log.close()


def error_facts(error: Exception) -> dict[str, str]:
    """An error as an answer says it under `error`."""
    if not isinstance(error, EdgenextError):
        text = " ".join(f"{type(error).__name__}: {error}".split())
        error = RuntimeFailedError(f"the runtime failed: {text}")
    return {"kind": type(error).__name__, "message": error.message, "remedy": error.remedy}


def send(pipe: IO[bytes], facts: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write one message: a line of JSON, then the arrays' bytes."""
    values = {k: np.ascontiguousarray(v) for k, v in arrays.items() if v is not None}
    described = [[name, v.dtype.str, v.shape] for name, v in values.items()]
    pipe.write(json.dumps({"facts": facts, "arrays": described}).encode() + b"\n")
    for value in values.values():
        pipe.write(value.tobytes())
    pipe.flush()


def receive(pipe: IO[bytes]) -> tuple[dict[str, Any], Arrays] | None:
    """Read one message; None where the other side has ended."""
    line = pipe.readline()
    if not line.endswith(b"\n"):
        return None
    head, arrays = json.loads(line), Arrays()
    for name, dtype, shape in head["arrays"]:
        array = np.empty(shape, np.dtype(dtype))
        if _read_into(pipe, array) < array.nbytes:
            return None
        arrays[name] = array
    return head["facts"], arrays


def _read_into(pipe: IO[bytes], array: NDArray[Any]) -> int:
    """Fill an array; the bytes read."""
    view, done = array.reshape(-1).view(np.uint8).data, 0
    while done < len(view):
        count = cast(Any, pipe).readinto(view[done:])
        if not count:
            break
        done += count
    return done
