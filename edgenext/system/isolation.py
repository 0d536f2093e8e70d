"""Calls in a process of their own: foreign code may print, crash and take memory there.

`python -m edgenext.system.isolation JOB RESULT` is that process, in whatever interpreter has the package
it needs: a JSON file in, a JSON file out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgenext import errors
from edgenext.errors import EdgenextError, RuntimeFailedError
from edgenext.system.environments import lent_package
from edgenext.system.files import write_bytes
from edgenext.system.memory import MIB, peak_rss

TIMEOUT_S = 1800
"""What is called takes seconds, on a busy machine minutes."""


@dataclass(frozen=True)
class Outcome:
    """What a call gave (`peak_mb`, its process's peak memory in MiB, too), printed and took."""

    result: dict[str, Any]
    said: str
    seconds: float


def isolated(
    function: str,
    job: Mapping[str, Any],
    log: Path,
    failure: str,
    python: str = sys.executable,
) -> Outcome:
    """Call a function in a process of its own.

    Args:
        function: `package.module:name`; it takes the job as a dict and gives one, plain JSON both.
        job: what it is told.
        log: where to keep what the process prints.
        failure: what could not be done, for the message.
        python: the interpreter.

    Raises:
        RuntimeFailedError: the process died; the message names its log.
        EdgenextError: whatever the function raises of that kind.
    """
    with TemporaryDirectory(prefix="edgenext-") as folder, lent_package() as variables:
        given, result = Path(folder, "job.json"), Path(folder, "result.json")
        given.write_text(json.dumps({"function": function} | dict(job)))
        start = time.monotonic()
        with subprocess.Popen(
            [python, "-m", "edgenext.system.isolation", str(given), str(result)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=variables | {"TMPDIR": folder, "TF_CPP_MIN_LOG_LEVEL": "2"},
            cwd=folder,
        ) as process:
            try:
                said, _ = process.communicate(timeout=TIMEOUT_S)
            except subprocess.TimeoutExpired as e:
                process.kill()
                raise RuntimeFailedError(f"{failure}: no answer in {TIMEOUT_S} s") from e
            except BaseException:
                process.kill()
                raise
        seconds = time.monotonic() - start
        write_bytes(log, said)
        if not result.is_file():
            raise RuntimeFailedError(
                f"{failure}: {_reason(said, process.returncode)}", f"Its whole log is {log}"
            )
        made: dict[str, Any] = json.loads(result.read_text())
    if "error" in made:
        kind: type[EdgenextError] = getattr(errors, made["error"]["kind"])
        raise kind(made["error"]["message"], made["error"]["remedy"])
    return Outcome(made, said.decode(errors="replace"), seconds)


def _reason(said: bytes, code: int) -> str:
    """The last line that speaks of an error, else the last line, else how the process ended."""
    lines = [x.strip() for x in said.decode(errors="replace").splitlines() if x.strip()]
    if code < 0:
        return f"killed by signal {-code}" + (": too little memory?" if code == -9 else "")
    return next(
        (x for x in reversed(lines) if "Error" in x), lines[-1] if lines else f"exit {code}"
    )


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Call the function that the job names; what it gives, or `{"error": …}`."""
    module, _, name = job.pop("function").partition(":")
    try:
        made: dict[str, Any] = getattr(import_module(module), name)(job)
    except EdgenextError as e:
        return {"error": {"kind": type(e).__name__, "message": e.message, "remedy": e.remedy}}
    return made | {"peak_mb": peak_rss() / MIB}


def main(arguments: list[str]) -> int:
    """Read the job, do it, write the result."""
    job, result = (Path(a) for a in arguments)
    made = work(json.loads(job.read_text()))
    result.write_text(json.dumps(made))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
