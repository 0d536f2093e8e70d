"""The hashes of a folder: of a run, a search, a training, a bundle, or of files beside each other.

Every file is compared with each record that has its hash: `SHA256SUMS`, `stages.json`, manifests,
`run.json`, `search.json`, `job.json`; and the records with each other.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import TypeVar

from pydantic import ValidationError

from edgenext.commands.checks import Checks
from edgenext.commands.report import REPORT_STAGE
from edgenext.commands.stages import STATE
from edgenext.devices.bundles.results import (
    JOB_FILE,
    RESULTS_FILE,
    RESULTS_FOLDER,
    read_runner_record,
)
from edgenext.devices.job import DeviceJob
from edgenext.errors import EdgenextError, InputError
from edgenext.formats.artifact import content_sha256
from edgenext.report.load import DEVICES, SEARCH, SUMMARY, load_summary
from edgenext.schema import BenchReport, CompareReport, EvalReport, Record, RunSummary, SearchReport
from edgenext.system.files import sha256_tree
from edgenext.system.parsing import read_json, read_record
from edgenext.system.sums import SUMS, read_sums

R = TypeVar("R", bound=Record)

REPORT = "report.json"

Report = EvalReport | CompareReport | BenchReport


def check_folder(root: Path, checks: Checks) -> None:
    """Compare everything in a folder with every hash that is recorded of it."""
    records = sorted(p for p in root.rglob("*.json") if p.is_file())
    for path in sorted(root.rglob(SUMS)):
        _check_sums(path.parent, checks)
    for record in records:
        artifact = record.with_name(record.name.removesuffix(".json"))
        if artifact.exists():
            checks.artifact(artifact)
        elif record.name not in (REPORT, SUMMARY):  # which contain results of devices
            checks.sealed(record, "report_sha256")
    for name, check in (
        (STATE, _check_stages),
        (SUMMARY, _check_run),
        (SEARCH, _check_search),
        (JOB_FILE, _check_job),
    ):
        for path in sorted(root.rglob(name)):
            check(path.parent, checks)


def _check_sums(folder: Path, checks: Checks) -> None:
    """Compare the files of a folder with its `SHA256SUMS`."""
    path = folder / SUMS
    checks.cover(path)
    try:
        sums = read_sums(folder)
    except InputError as e:
        checks.fail(path, "its format", _without_folder(e.message, folder))
        return
    for name, expected in sums.items():
        checks.file(folder / name, checks.name(path), expected)


def _check_stages(folder: Path, checks: Checks) -> None:
    """Compare the files of stages with `stages.json`; `edgenext report` may rewrite a report."""
    path = folder / STATE
    try:
        stages = {name: dict(stage["files"]) for name, stage in read_json(path).items()}
    except (InputError, TypeError, KeyError, AttributeError) as e:
        checks.fail(path, "its format", f"cannot be read: {type(e).__name__}")
        return
    stages.pop(REPORT_STAGE, None)
    for files in stages.values():
        for name, expected in files.items():
            checks.compare(folder / name, checks.name(path), str(expected), sha256_tree)


def _check_run(folder: Path, checks: Checks) -> None:
    """Compare a run's summary with its artifacts, its parts and its report."""
    path = folder / SUMMARY
    try:
        summary = load_summary(folder)
    except EdgenextError as e:
        checks.fail(path, "its schema", _without_folder(e.message, folder))
        return
    by = checks.name(path)
    hashes = {summary.weights_sha256}
    for row in summary.artifacts:
        hashes.add(row.sha256)
        file = folder / row.artifact
        if not file.exists():  # an earlier version's paths are relative to where it ran
            file = folder / "artifacts" / PurePath(row.artifact).name
        checks.content(file, by, row.sha256)
        _check_source(file, summary, by, checks)
    for weights in folder.rglob(PurePath(summary.weights).name) if summary.weights else ():
        if weights.is_file():
            checks.file(weights, by, summary.weights_sha256)
    for name, part in (
        ("eval.json", summary.eval),
        ("compare.json", summary.compare),
        ("bench.json", summary.bench),
    ):
        if (folder / name).is_file():
            stored = _read(folder / name, type(part), checks)
            if stored is not None and stored != part:
                checks.fail(folder / name, by, "has other figures")
    reports: tuple[Report, ...] = (summary.eval, summary.compare, summary.bench, *summary.devices)
    for report in reports:
        _check_rows(report, hashes, path, checks)
    _check_report(folder, summary, checks)


def _check_source(file: Path, summary: RunSummary, by: str, checks: Checks) -> None:
    """Compare what an artifact was made from with what the run was."""
    manifest = checks.manifests.get(file.absolute())
    if manifest is None:
        return
    if manifest.source.get("sha256") != summary.weights_sha256:
        checks.fail(file, by, "was made from other weights than the run's")
    if manifest.calibration and summary.calibration not in (None, manifest.calibration.subset):
        checks.fail(file, by, "was calibrated on other images than the run's")


def _check_rows(report: Report, hashes: set[str], path: Path, checks: Checks) -> None:
    """Every measured row is of a file of the run."""
    rows: dict[str, str]
    if isinstance(report, CompareReport):
        rows = {report.base.artifact: report.base.sha256}
        rows |= {row.artifact: row.sha256 for row in report.others}
    else:
        rows = {row.artifact: row.sha256 for row in report.results}
    for name, sha256 in rows.items():
        if sha256 and sha256 not in hashes:
            checks.fail(path, "its own files", f"has figures of {name}, which is none of them")
    if isinstance(report, BenchReport):
        for part in (report.eval, report.compare):
            if part:
                _check_rows(part, hashes, path, checks)


def _check_report(folder: Path, summary: RunSummary, checks: Checks) -> None:
    """The report is of this summary and of the device results beside it."""
    path = folder / REPORT
    if not path.is_file():
        return
    try:
        document = read_json(path)
        document.pop("verdict")
        same = RunSummary.model_validate(document, strict=False) == summary
    except (InputError, ValidationError, TypeError, KeyError, AttributeError):
        checks.fail(path, "its schema", "is not the report of a run")
        return
    if not same:
        devices = f" and {DEVICES}/" if summary.devices else ""
        checks.fail(path, SUMMARY, f"was written from another {SUMMARY}{devices}")


def _check_search(folder: Path, checks: Checks) -> None:
    """Compare a search's report with the files it chose among."""
    path = folder / SEARCH
    report = _read(path, SearchReport, checks)
    if report is None:
        return
    by = checks.name(path)
    for candidate in report.candidates:
        row = candidate.comparison
        files = [p for p in folder.iterdir() if p.stem == row.artifact and p.suffix != ".json"]
        for file in files:
            checks.content(file, by, row.sha256)
        if not files:
            checks.fail(path, "its own files", f"has figures of {row.artifact}, which is missing")
    if not (folder / PurePath(report.path).name).exists():
        checks.fail(path, "its own files", f"chose {PurePath(report.path).name}, which is missing")


def _check_job(folder: Path, checks: Checks) -> None:
    """Compare the files of a bundle with its job, and the results with what the runner wrote."""
    path = folder / JOB_FILE
    try:
        job = DeviceJob.model_validate_json(path.read_bytes(), strict=True)
    except (ValidationError, OSError):
        checks.fail(path, "its schema", "is not a job")
        return
    checks.hashes += 1
    checks.cover(path)
    written = {(job.model_dump_json(indent=2, exclude_none=True) + "\n").encode()}
    if folder.name == RESULTS_FOLDER and (folder.parent / JOB_FILE).is_file():
        written.add((folder.parent / JOB_FILE).read_bytes())
    unnamed = job.model_copy(update={"job": ""}).model_dump_json()
    if (
        path.read_bytes() not in written
        or hashlib.sha256(unnamed.encode()).hexdigest()[:16] != job.job
    ):
        checks.fail(path, "itself", "was changed")
    by = checks.name(path)
    if folder.name != RESULTS_FOLDER and not (folder / RESULTS_FILE).exists():
        for artifact in job.artifacts:
            checks.compare(folder / artifact.file, by, artifact.sha256, content_sha256)
        if job.images:
            checks.file(folder / job.images.file, by, job.images.sha256)
        return
    _check_results(folder, job, checks)


def _check_results(folder: Path, job: DeviceJob, checks: Checks) -> None:
    """Compare the logits of a bundle's results with the lines that the runner wrote."""
    lines = folder / RESULTS_FILE
    if not lines.exists():
        return
    checks.hashes += 1
    checks.cover(lines)
    try:
        record = read_runner_record(folder)
    except EdgenextError as e:
        checks.fail(lines, "itself", _without_folder(e.message, folder))
        return
    for artifact in job.artifacts:
        measured = record.artifacts.get(artifact.sha256)
        if measured and measured.logits_sha256:
            logits = folder / f"logits-{artifact.sha256}.f32"
            checks.file(logits, checks.name(lines), measured.logits_sha256)


def _read(path: Path, kind: type[R], checks: Checks) -> R | None:
    """A record; None if it cannot be read, which is a problem."""
    try:
        return read_record(path, kind, "a record")
    except InputError:
        checks.fail(path, "its schema", "cannot be read")
        return None


def _without_folder(message: str, folder: Path) -> str:
    """A message in which the files of a folder have their names alone."""
    return " ".join(message.replace(f"{folder}{os.sep}", "").split())


def uncovered(root: Path, checks: Checks) -> Iterable[str]:
    """The files in a folder of which no record has a hash."""
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.absolute() not in checks.covered:
            yield path.relative_to(root).as_posix()
