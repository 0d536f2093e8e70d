"""The process that converts one graph: a JSON file in, a JSON file out.

Started as `python -m edgenext.export.worker JOB RESULT`, in whatever interpreter has the
converter. What converters print goes wherever the parent sends it.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from edgenext.errors import EdgenextError


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Convert what the job says; what the converter tells of it, or `{"error": …}`."""
    try:
        made: dict[str, Any] = import_module(f"edgenext.export.{job['converter']}").convert(job)
    except EdgenextError as e:
        return {"error": {"kind": type(e).__name__, "message": e.message, "remedy": e.remedy}}
    return made | {"peak_mb": peak_mb()}


def peak_mb() -> float:
    """This process's peak resident memory in MiB.

    On Linux from VmHWM: ru_maxrss there starts at the parent's peak, not at zero.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) / 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def main(arguments: list[str]) -> int:
    """Read the job, do it, write the result."""
    job, result = (Path(a) for a in arguments)
    result.write_text(json.dumps(work(json.loads(job.read_text()))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
