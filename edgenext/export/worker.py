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
from edgenext.memory import MIB, peak_rss


def work(job: dict[str, Any]) -> dict[str, Any]:
    """Convert what the job says; what the converter tells of it, or `{"error": …}`."""
    try:
        made: dict[str, Any] = import_module(f"edgenext.export.{job['converter']}").convert(job)
    except EdgenextError as e:
        return {"error": {"kind": type(e).__name__, "message": e.message, "remedy": e.remedy}}
    return made | {"peak_mb": peak_rss() / MIB}


def main(arguments: list[str]) -> int:
    """Read the job, do it, write the result."""
    job, result = (Path(a) for a in arguments)
    result.write_text(json.dumps(work(json.loads(job.read_text()))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
