"""Measurements in, a report out: one HTML file, Markdown and JSON."""

from __future__ import annotations

import json
from pathlib import Path

from edgenext.report.load import load_logits, load_summary
from edgenext.report.markdown import markdown
from edgenext.report.page import page
from edgenext.report.plots import plots
from edgenext.report.study import study
from edgenext.report.verdict import BUDGET, Verdict, judge
from edgenext.system.files import write_text

__all__ = ["BUDGET", "Verdict", "write_report"]


def write_report(run_dir: Path, out: Path | None = None, *, budget: float = BUDGET) -> list[Path]:
    """Write `report.html`, `report.md` and `report.json` from a run folder.

    The same run gives the same bytes.

    Args:
        run_dir: holds `run.json` and, for the plot of changed answers, `logits.npz`.
        out: the folder to write into; the run folder unless given.
        budget: points of top-1 that INT8 may cost.

    Returns:
        The three files, HTML first.

    Raises:
        InputError: the run folder holds no whole run, or files of different runs.
        OutputError: a file cannot be written.
    """
    found = study(load_summary(run_dir))
    verdict = judge(found, budget)
    drawn = plots(found, verdict, load_logits(run_dir))
    document = {**found.summary.model_dump(mode="json"), "verdict": verdict.model_dump(mode="json")}
    texts = {
        "report.html": page(found, verdict, drawn),
        "report.md": markdown(found, verdict),
        "report.json": json.dumps(document, indent=2, ensure_ascii=False) + "\n",
    }
    # Nothing is written before all of it is made: no report of two minds is left behind.
    folder = run_dir if out is None else out
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]
