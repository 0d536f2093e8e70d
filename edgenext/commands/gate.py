"""Conditions on results, for continuous integration: exit codes, JUnit, tables and a summary."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from edgenext.errors import (
    ArtifactError,
    GateFailedError,
    OutputError,
    UndecidedError,
    UsageError,
)
from edgenext.formats.artifact import open_artifact
from edgenext.formats.session import needed
from edgenext.options import DEFAULT_MAX_DROP, CiOptions, require_budget
from edgenext.report.ci.expression import Comparison, Condition, read_conditions
from edgenext.report.ci.judge import judge_rows
from edgenext.report.ci.junit import junit
from edgenext.report.ci.metrics import metrics
from edgenext.report.ci.results import (
    ResultRow,
    bench_rows,
    compare_rows,
    run_rows,
    search_rows,
)
from edgenext.report.ci.step_summary import add_summary, step_summary
from edgenext.report.ci.table import csv_table, parquet_table
from edgenext.report.load import load_summary
from edgenext.report.study import study_of
from edgenext.report.text import enumerated
from edgenext.report.verdict import judge
from edgenext.schema import BenchReport, CompareReport, GateCase, GateReport, SearchReport
from edgenext.system.files import output_path, write_bytes, write_text
from edgenext.system.reading import readable

SHOWN = 3
"""Cases that an error names."""
LABELLED = ("drop", "top1", "agreement", "sqnr")
"""Metrics that need labelled images."""
PAIRED = ("drop", "agreement", "sqnr", "speedup", "size_ratio")
"""Metrics that need a base."""


@dataclass(frozen=True)
class Gate:
    """What is to be decided of a command's results, and what is to be written of them."""

    command: str
    conditions: tuple[Condition, ...]
    options: CiOptions

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to decide and nothing to write."""
        return not self.conditions and self.options == CiOptions()


def read_gate(
    command: str,
    options: CiOptions,
    *,
    artifacts: int = 2,
    has_images: bool = True,
    max_drop: float | None = None,
) -> Gate:
    """Everything about a gate that can be wrong, found before anything is measured.

    Args:
        command: whose results are judged: `compare`, `run`, `search` or `bench`.
        options: the condition, and the files to write.
        artifacts: how many are measured; one alone has no base.
        has_images: whether there are images to score them on.
        max_drop: points of top-1: it also fails where a file is not shown to stay under them, of a
            search if none is.

    Raises:
        UsageError: a condition that cannot be read, a metric that the command does not measure, or
            `max_drop` outside 0 to 100.
        MissingDependencyError: Parquet is asked for and cannot be written.
        OutputError: a file that cannot be written.

    >>> gate = read_gate("bench", CiOptions("speedup < 1.2 or undecided"))
    >>> [str(condition) for condition in gate.conditions]
    ['speedup < 1.2']
    """
    known = {name: metric for name, metric in metrics().items() if command in metric.commands}
    words = {name for name, metric in known.items() if metric.is_word}
    _require_measured_by(command, options.fail_if)
    conditions = read_conditions(options.fail_if, known, words)
    for name in (name for c in conditions for name in c.expression.metrics):
        if name in LABELLED and not has_images:
            raise UsageError(f"--fail-if: {name} needs labelled images", "Give --data")
        if name in PAIRED and artifacts < 2:
            raise UsageError(
                f"--fail-if: {name} is relative to a base, and one file alone has none",
                "Name the base, then the others",
            )
    if max_drop is not None:
        require_budget(max_drop)
        over = Condition(Comparison("drop", ">=", max_drop), undecided_fails=True)
        conditions = (over, *(c for c in conditions if c.expression != over.expression))
    if options.junit and not conditions:
        raise UsageError("--junit has no conditions to report", "Give --fail-if")
    for path in (options.junit, options.csv, options.parquet):
        _require_writable(path)
    if options.parquet:
        with needed("pyarrow", "parquet"):
            import pyarrow.parquet  # noqa: F401 - whether it can be imported
    return Gate(command, conditions, options)


def judge_results(
    gate: Gate,
    result: CompareReport | BenchReport | SearchReport,
    files: Sequence[str | Path] = (),
) -> GateReport:
    """Judge a command's results, and write what was asked for.

    Args:
        gate: see `read_gate`.
        result: what the command measured.
        files: the artifacts, for their sizes; of other names there is none.

    Raises:
        OutputError: a file cannot be written.

    >>> gate = read_gate("compare", CiOptions("drop > 90 or undecided"))
    >>> files = ["edgenext_xx_small-32-fp32.onnx", "edgenext_xx_small-32-w8a8-static.onnx"]
    >>> report = compare(files[0], files[1:], DataOptions("digits", limit=40))
    >>> judge_results(gate, report, files).outcome
    'passed'
    """
    if isinstance(result, SearchReport):
        rows = search_rows(result)
    elif isinstance(result, CompareReport):
        rows = compare_rows(result, dict(_sizes(gate, files)))
    else:
        rows = bench_rows(result, dict(_sizes(gate, files)))
    return _published(gate, rows)


def judge_run(gate: Gate, folder: Path, *, max_drop: float = DEFAULT_MAX_DROP) -> GateReport:
    """Judge a finished run, and write what was asked for.

    Args:
        gate: see `read_gate`.
        folder: the run's.
        max_drop: points of top-1 that INT8 may cost.

    Raises:
        InputError: the folder contains no finished run.
        OutputError: a file cannot be written.

    >>> judge_run(read_gate("run", CiOptions("size_ratio > 0.1")), Path("run")).outcome
    'failed'
    """
    study = study_of(load_summary(folder))
    verdict = judge(study, max_drop)
    return _published(gate, run_rows(study, verdict), verdict.lines)


def require_passed(report: GateReport) -> None:
    """Nothing if all conditions are decided and none holds.

    Args:
        report: of `judge_results` or `judge_run`.

    Raises:
        GateFailedError: one holds.
        UndecidedError: one is undecided that had to be decided.

    >>> require_passed(GateReport(command="compare", outcome="passed"))
    """
    if report.outcome == "passed":
        return
    cases = [c for c in report.cases if c.is_broken]
    if report.outcome == "failed":
        cases = [c for c in cases if c.outcome == "failed"]
        raise GateFailedError(f"not met: {_named(cases)}")
    raise UndecidedError(
        f"undecided: {_named(cases)}",
        "The interval includes the threshold, or a timing is not valid: give more images or "
        "rounds, or a quiet machine",
    )


def _require_measured_by(command: str, text: str) -> None:
    """Refuse metrics of other commands with a better reason than that they are not known."""
    words = text.replace("(", " ").replace("<", " ").replace(">", " ").split()
    for word in words:
        metric = metrics().get(word)
        if metric and command not in metric.commands:
            raise UsageError(
                f"--fail-if: {command} does not measure {word}",
                f"It is a metric of {enumerated(metric.commands)}",
            )


def _require_writable(path: Path | None) -> None:
    if path is None:
        return
    try:
        target = output_path(path)
        is_folder = target.is_dir()
        parent = next(folder for folder in target.absolute().parents if folder.is_dir())
        if not is_folder and (target.is_file() or not target.exists()):
            TemporaryFile(dir=parent).close()
    except OSError as e:
        raise OutputError(f"cannot write {readable(str(path))}: {e.strerror}") from e
    if is_folder:
        raise OutputError(f"cannot write {path}: it is a folder", "Name a file in it")


def _sizes(gate: Gate, files: Sequence[str | Path]) -> Iterator[tuple[str, int]]:
    """Bytes of each artifact by sha256."""
    if gate.is_empty:
        return
    for file in files:
        with contextlib.suppress(ArtifactError):  # a network's name
            manifest = open_artifact(Path(file)).manifest
            yield manifest.sha256, manifest.size_bytes


def _published(gate: Gate, rows: Sequence[ResultRow], lines: Sequence[str] = ()) -> GateReport:
    report = judge_rows(gate.command, gate.conditions, rows)
    options = gate.options
    if options.csv:
        write_text(options.csv, csv_table(gate.command, rows))
    if options.parquet:
        write_bytes(options.parquet, parquet_table(gate.command, rows))
    if options.junit:
        write_text(options.junit, junit(report))
    if options.step_summary:
        add_summary(options.step_summary, step_summary(report, rows, lines))
    return report


def _named(cases: Sequence[GateCase]) -> str:
    """The first few cases in words."""
    shown = [f"{c.artifact}: {c.condition}: {c.detail}" for c in cases[:SHOWN]]
    more = len(cases) - len(shown)
    return "; ".join([*shown, *([f"and {more} more"] if more else [])])
