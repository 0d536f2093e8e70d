"""Calls in a separate process, where foreign code may print, crash and use memory.

`python -m edgenext.system.isolation JOB RESULT` is that process, run by any interpreter that has
the package it needs. It reads one JSON file and writes another.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from edgenext import errors
from edgenext.errors import EdgenextError, RuntimeFailedError
from edgenext.system.environments import importable_package
from edgenext.system.files import write_bytes
from edgenext.system.memory import MIB, peak_rss
from edgenext.system.temporary import scratch_folder
from edgenext.system.turns import waiting_for

TIMEOUT_S = 1800
"""A call takes seconds, or minutes on a busy machine."""


@dataclass(frozen=True)
class IsolatedCall:
    """A call that has returned.

    `result` is the function's, with `peak_mb` added: the peak memory of its process in MiB.
    `output` is what the process printed.
    """

    result: dict[str, Any]
    output: str
    seconds: float


def call_isolated(
    function: str,
    job: Mapping[str, Any],
    log: Path,
    failure: str,
    python: str = sys.executable,
    path: Path | None = None,
) -> IsolatedCall:
    """Call a function in a separate process.

    Args:
        function: `package.module:name`; takes the job and returns a dict, both plain JSON.
        job: the function's argument.
        log: the file to write the process's output to.
        failure: start of the error message if the process dies, such as "cannot convert X".
        python: the interpreter.
        path: a folder of modules that it can import besides this package.

    Raises:
        RuntimeFailedError: the process died or timed out; the message names its log.
        EdgenextError: any error of this kind that the function raises.
    """
    with scratch_folder() as folder, importable_package() as variables:
        job_file, result_file = folder / "job.json", folder / "result.json"
        job_file.write_text(json.dumps({"function": function} | dict(job)))
        if path is not None:
            variables["PYTHONPATH"] = os.pathsep.join((variables["PYTHONPATH"], str(path)))
        start = time.monotonic()
        with subprocess.Popen(
            [python, "-m", "edgenext.system.isolation", str(job_file), str(result_file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=variables | {"TMPDIR": str(folder), "TF_CPP_MIN_LOG_LEVEL": "2"},
            cwd=folder,
        ) as process:
            try:
                with waiting_for(process):
                    output, _ = process.communicate(timeout=TIMEOUT_S)
            except subprocess.TimeoutExpired as e:
                process.kill()
                raise RuntimeFailedError(f"{failure}: no result after {TIMEOUT_S} s") from e
            except BaseException:
                process.kill()
                raise
        seconds = time.monotonic() - start
        write_bytes(log, output)
        text = output.decode(errors="replace")
        if not result_file.is_file():
            raise RuntimeFailedError(
                f"{failure}: {_reason(text, process.returncode)}", f"The full log is {log}"
            )
        result: dict[str, Any] = json.loads(result_file.read_text())
    if "error" in result:
        error_type: type[EdgenextError] = getattr(errors, result["error"]["kind"])
        raise error_type(result["error"]["message"], result["error"]["remedy"])
    return IsolatedCall(result, text, seconds)


def _reason(output: str, code: int) -> str:
    """The signal that killed a process, else its last line with "Error", else its last line."""
    lines = [x.strip() for x in output.splitlines() if x.strip()]
    if code < 0:
        return f"killed by signal {-code}" + (": out of memory?" if code == -9 else "")
    return next(
        (x for x in reversed(lines) if "Error" in x), lines[-1] if lines else f"exit {code}"
    )


def run_job(job: dict[str, Any]) -> dict[str, Any]:
    """Call the function that the job names; its result and `peak_mb`, or `{"error": …}`."""
    module, _, name = job.pop("function").partition(":")
    try:
        result: dict[str, Any] = getattr(import_module(module), name)(job)
    except EdgenextError as e:
        return {"error": {"kind": type(e).__name__, "message": e.message, "remedy": e.remedy}}
    return result | {"peak_mb": peak_rss() / MIB}


def main(arguments: list[str]) -> int:
    """Read the job file, run the job, write the result file."""
    job_file, result_file = (Path(a) for a in arguments)
    result = run_job(json.loads(job_file.read_text()))
    result_file.write_text(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
