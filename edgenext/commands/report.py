"""Write the reports of runs: HTML, Markdown and JSON, and several runs side by side."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from edgenext.errors import UsageError
from edgenext.options import DEFAULT_MAX_DROP, require_budget
from edgenext.report import write_comparison, write_report
from edgenext.report.changes import changes_table
from edgenext.report.ci.step_summary import add_summary
from edgenext.report.markdown import findings_markdown
from edgenext.schema import ChangeReport
from edgenext.system.sums import write_sums

REPORT_STAGE = "report"
"""The stage of a run that writes its report; the command may write it again, with other options."""
REPORT_FILES = 3
"""HTML, Markdown and JSON, which `write_report` returns before its tables."""


def report(
    run_dirs: Path | Sequence[Path],
    *,
    out: Path | None = None,
    max_drop: float = DEFAULT_MAX_DROP,
    against: Path | None = None,
    data: str | Path | None = None,
    step_summary: Path | None = None,
) -> list[Path]:
    """Write the report of one run folder, or of several: see `edgenext report`.

    Args:
        run_dirs: a folder made by `edgenext run`, or a sequence of them.
        out: folder of the report; the run's own unless given. The reports of several runs are
            written into folders in it with the names of the run folders, and the page that has
            them side by side into it, else into the current folder.
        max_drop: points of top-1 that INT8 may cost.
        against: the folder of an earlier run of the same network: what changed since, beyond noise,
            is then a section of the report, and `changes` in its JSON.
        data: the images that the runs were evaluated on, to show those whose answer changed; by
            default they are looked for by their name, in the current folder and beside the run.
        step_summary: a Markdown file that what changed is added to.

    Returns:
        Each report's HTML, Markdown and JSON, in the order of the runs; of several runs last the
        page that has them side by side. Beside a report are `changed.csv` and `classes.csv`, where
        the run has predictions.

    Raises:
        UsageError: a `max_drop` outside 0 to 100, no folder, or `out` for run folders of which
            two have the same name.
        InputError: a folder without a finished run, or with a damaged one; runs of different
            networks.
        DataError: `data` is neither a folder nor a zip of images.
        OutputError: a folder that cannot be written.

    >>> [path.name for path in report(Path("run"), out=Path("again"))]
    ['report.html', 'report.md', 'report.json']
    """
    require_budget(max_drop)
    folders = [run_dirs] if isinstance(run_dirs, Path) else list(run_dirs)
    if not folders:
        raise UsageError("no run folder was given", "Name one or more folders of finished runs")
    files: list[Path] = []
    pages = []
    for folder, report_dir in zip(folders, _report_dirs(folders, out), strict=True):
        written = write_report(folder, report_dir, budget=max_drop, against=against, data=data)
        write_sums(written[0].parent, written, keep=True)
        if against and step_summary:
            document = json.loads(written[2].read_text("utf-8"))
            changed = changes_table(ChangeReport.model_validate(document["changes"]))
            add_summary(step_summary, "\n".join(findings_markdown(changed)) + "\n\n")
        files += written[:REPORT_FILES]
        pages.append(written[0])
    if len(folders) > 1:
        files.append(write_comparison(folders, pages, out or Path(), budget=max_drop))
    return files


def _report_dirs(folders: Sequence[Path], out: Path | None) -> list[Path | None]:
    """Where each run's report is written; None is the run folder itself.

    Raises:
        UsageError: two reports would be written into the same folder.
    """
    if out is None or len(folders) == 1:
        return [out] * len(folders)
    names = [folder.resolve().name for folder in folders]
    name, uses = Counter(names).most_common(1)[0]
    if uses > 1:
        raise UsageError(
            f"{uses} run folders are called {name}: their reports would be written into the same "
            f"folder, {out / name}",
            "Rename one, or write their reports one at a time",
        )
    return [out / name for name in names]
