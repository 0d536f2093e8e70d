"""Reading a run folder: its summary and its device results."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from edgenext.errors import InputError
from edgenext.schema import BenchReport, RunSummary

SUMMARY = "run.json"
DEVICES = "devices"


def load_summary(run_dir: Path) -> RunSummary:
    """The `run.json` of a run folder.

    Raises:
        InputError: there is none, or it is not the summary of a finished run.
    """
    path = run_dir / SUMMARY
    if not path.is_file():
        raise InputError(
            f"{run_dir} contains no {SUMMARY}",
            "Give the folder of a finished run; `edgenext run` makes one",
        )
    remedy = "Run `edgenext run` again: it repeats only what is missing"
    try:
        text = path.read_bytes()
        summary = RunSummary.model_validate_json(text)
    except OSError as e:
        raise InputError(f"cannot read {path}: {e.strerror}") from e
    except ValidationError as e:
        first = e.errors()[0]
        field = ".".join(map(str, first["loc"])) or "the file"
        reason = f"{field}: {' '.join(first['msg'].split())}"
        raise InputError(f"{path} is not the summary of a run: {reason}", remedy) from e
    if summary.schema_version != 1:
        raise InputError(
            f"{path} has schema version {summary.schema_version}; this program reads version 1",
            "Use the version of edgenext that wrote it",
        )
    return summary.model_copy(update={"devices": _devices(run_dir / DEVICES)})


def _devices(folder: Path) -> tuple[BenchReport, ...]:
    """The results that `bench --device … -o` wrote into the run's `devices`, by file name."""
    reports = []
    for path in sorted(folder.glob("*.json")):
        try:
            text = path.read_bytes()
            report = BenchReport.model_validate_json(text)
        except (OSError, ValidationError) as e:
            reason = e.errors()[0]["msg"] if isinstance(e, ValidationError) else e.strerror
            raise InputError(
                f"{path} is not the result of a device: {reason}",
                "Measure again, or remove the file",
            ) from e
        reports.append(report)
    return tuple(reports)


