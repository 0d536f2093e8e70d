"""Measurements in, a report out: one HTML file, Markdown and JSON."""

from __future__ import annotations

import json
from pathlib import Path

from edgenext.options import DEFAULT_MAX_DROP
from edgenext.report.changes import Side, changes
from edgenext.report.markdown import markdown
from edgenext.report.page import page
from edgenext.report.plots import plots
from edgenext.system.files import write_text

__all__ = ["write_report"]


def write_report(
    run_dir: Path,
    out: Path | None = None,
    *,
    budget: float = DEFAULT_MAX_DROP,
    against: Path | None = None,
) -> list[Path]:
    """Write `report.html`, `report.md` and `report.json` from a run folder.

    The same run gives the same bytes.

    Args:
        run_dir: contains `run.json` and, for the plot of changed answers, `predictions.npz`.
        out: the folder to write into; the run folder unless given.
        budget: points of top-1 that INT8 may cost.
        against: the folder of an earlier run; the report then says what changed since.

    Returns:
        The three files, HTML first.

    Raises:
        InputError: the folder contains no finished run, or files of different runs.
        OutputError: a file cannot be written.
    """
    side = Side.of(run_dir, budget)
    study, verdict = side.study, side.verdict
    drawn = plots(study, verdict, side.predictions)
    document = {**study.summary.model_dump(mode="json"), "verdict": verdict.model_dump(mode="json")}
    changed = None
    if against is not None:
        changed = changes(side, Side.of(against, budget))
        document["changes"] = changed.model_dump(mode="json")
    texts = {
        "report.html": page(study, verdict, drawn, changed),
        "report.md": markdown(study, verdict, changed),
        "report.json": json.dumps(document, indent=2, ensure_ascii=False) + "\n",
    }
    # All texts are complete before the first is written: an error leaves no partial report.
    folder = run_dir if out is None else out
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]
