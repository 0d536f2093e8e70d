"""Measurements in, a report out: one HTML file, Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgenext.options import DEFAULT_MAX_DROP
from edgenext.report.changes import Side, changes
from edgenext.report.comparison import PAGE, comparison_page
from edgenext.report.details import details_of
from edgenext.report.markdown import markdown
from edgenext.report.page import page
from edgenext.report.plots import plots
from edgenext.system.files import write_text

__all__ = ["write_comparison", "write_report"]


def write_report(
    run_dir: Path,
    out: Path | None = None,
    *,
    budget: float = DEFAULT_MAX_DROP,
    against: Path | None = None,
    data: str | Path | None = None,
) -> list[Path]:
    """Write `report.html`, `report.md` and `report.json` from a run folder.

    The same run gives the same bytes, where the evaluated images are the same.

    Args:
        run_dir: contains `run.json`; for what changed image by image also `predictions.npz` and
            `images.json`.
        out: the folder to write into; the run folder unless given.
        budget: points of top-1 that INT8 may cost.
        against: the folder of an earlier run; the report then says what changed since.
        data: the evaluated images, for small pictures of those whose answer changed; by default
            they are looked for by their name.

    Returns:
        The three files, HTML first; then, of a run with `predictions.npz`, `changed.csv` and
        `classes.csv`.

    Raises:
        InputError: the folder contains no finished run, or files of different runs.
        DataError: `data` is neither a folder nor a zip.
        OutputError: a file cannot be written.
    """
    side = Side.of(run_dir, budget)
    study, verdict = side.study, side.verdict
    folder = run_dir if out is None else out
    drawn = plots(study, verdict, side.predictions)
    details = details_of(study, verdict, side.predictions, run_dir, folder, data)
    document = {**study.summary.model_dump(mode="json"), "verdict": verdict.model_dump(mode="json")}
    changed = None
    if against is not None:
        changed = changes(side, Side.of(against, budget))
        document["changes"] = changed.model_dump(mode="json")
    texts = {
        "report.html": page(study, verdict, drawn, changed, details),
        "report.md": markdown(study, verdict, changed, details),
        "report.json": json.dumps(document, indent=2, ensure_ascii=False) + "\n",
        **details.tables,
    }
    # All texts are complete before the first is written: an error leaves no partial report.
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in texts]


def write_comparison(
    run_dirs: Sequence[Path],
    reports: Sequence[Path],
    folder: Path,
    *,
    budget: float = DEFAULT_MAX_DROP,
) -> Path:
    """Write `comparison.html`, in which several runs are side by side; its path.

    Args:
        run_dirs: folders of runs.
        reports: the page of each.
        folder: to write into.
        budget: points of top-1 that INT8 may cost.

    Raises:
        InputError: a folder contains no finished run.
        OutputError: the file cannot be written.
    """
    sides = [
        replace(Side.of(run_dir, budget), name=name)
        for run_dir, name in zip(run_dirs, _names(run_dirs), strict=True)
    ]
    path = folder / PAGE
    write_text(path, comparison_page(sides, reports, folder))
    return path


def _names(folders: Sequence[Path]) -> list[str]:
    """The name of each folder, with as many of the folders above it as tell them apart."""
    parts = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(set(parts)):
            break
    return names
