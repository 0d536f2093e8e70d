"""Reading a run folder: its summary and its device results."""

from __future__ import annotations

from pathlib import Path

from edgenext.errors import InputError
from edgenext.schema import BenchReport, RunSummary
from edgenext.system.parsing import read_record
from edgenext.system.reading import similar_files

SUMMARY = "run.json"
SEARCH = "search.json"
DEVICES = "devices"


def load_summary(run_dir: Path) -> RunSummary:
    """The `run.json` of a run folder.

    Raises:
        InputError: there is none, or it is not the summary of a finished run.
    """
    path = run_dir / SUMMARY
    if not run_dir.is_dir():
        kind = "a file" if run_dir.exists() else "not there"
        raise InputError(f"{run_dir} is {kind}, not the folder of a run", similar_files(run_dir))
    if not path.exists():
        raise InputError(
            f"{run_dir} contains no {SUMMARY}",
            "Give the folder of a finished run; `edgenext run` makes one",
        )
    remedy = "Run `edgenext run` again: it repeats only what is missing"
    summary = read_record(path, RunSummary, "the summary of a run", remedy=remedy, version=1)
    return summary.model_copy(update={"devices": _devices(run_dir / DEVICES)})


def newest_run(folder: Path) -> Path | None:
    """The folder of the run that was finished last, in a folder or up to two below; None without.

    Its time is that of its `run.json`.
    """
    summaries = [folder / SUMMARY, *folder.glob(f"*/{SUMMARY}"), *folder.glob(f"*/*/{SUMMARY}")]
    times = {path: path.stat().st_mtime for path in summaries if path.is_file()}
    return max(times, key=times.__getitem__).parent if times else None


def _devices(folder: Path) -> tuple[BenchReport, ...]:
    """The results that `bench --device … -o` wrote into the run's `devices`, by file name."""
    remedy = "Measure again, or remove the file"
    return tuple(
        read_record(path, BenchReport, "the result of a device", remedy=remedy)
        for path in sorted(folder.glob("*.json"))
    )
