"""Write the report of a run: HTML, Markdown and JSON."""

from __future__ import annotations

import math
from pathlib import Path

from edgenext.errors import UsageError


def report(run_dir: Path, out: Path | None = None, *, max_drop: float = 1.0) -> list[Path]:
    """Write the report of a run folder: see `edgenext report`.

    Args:
        run_dir: a folder made by `edgenext run`.
        out: folder of the report; the run's own unless given.
        max_drop: points of top-1 that INT8 may cost.

    Raises:
        UsageError: a negative or infinite `max_drop`.
        InputError: no run in the folder, or a damaged one.
        OutputError: the folder cannot be written.

    >>> [path.name for path in report(Path("run"), Path("again"))]
    ['report.html', 'report.md', 'report.json']
    """
    from edgenext.report import write_report

    if not (math.isfinite(max_drop) and max_drop >= 0):
        raise UsageError(f"--max-drop {max_drop} is not a number of points", "Use 0 or more")
    return write_report(run_dir, out, budget=max_drop)
