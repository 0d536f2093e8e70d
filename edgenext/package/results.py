"""Measured accuracies of files, from what `eval`, `compare` and `run` wrote."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgenext.errors import InputError
from edgenext.metrics.statistics import wilson_interval
from edgenext.schema import CompareReport, EvalReport, RunSummary, SubsetInfo
from edgenext.system.parsing import read_json, read_record


@dataclass(frozen=True)
class Accuracy:
    """Top-1 and top-5 of a file in percent, with Wilson's intervals of 95 %."""

    sha256: str
    top1: float
    top5: float
    n: int
    data: SubsetInfo | None
    runtime: str
    evidence: str

    @property
    def is_possible(self) -> bool:
        """Whether both are percentages."""
        return 0 <= self.top1 <= 100 and 0 <= self.top5 <= 100

    @property
    def metrics(self) -> dict[str, tuple[float, tuple[float, float]]]:
        """Name → value and interval."""
        return {
            name: (value, wilson_interval(round(value * self.n / 100), self.n))
            for name, value in (("top-1", self.top1), ("top-5", self.top5))
        }

    @property
    def dataset(self) -> str:
        """The name of the images."""
        return self.data.data if self.data else "unnamed images"


def read_results(path: Path) -> dict[str, Accuracy]:
    """The accuracies in a JSON of `eval --json` or `compare --json`, or a run's `run.json`.

    Returns:
        By the sha256 of the file.

    Raises:
        InputError: another file, or a damaged one.
    """
    values = read_json(path)
    if not isinstance(values, dict):
        values = {}
    rows = _rows(path, values)
    if rows is None:
        raise InputError(
            f"{path} has no accuracies",
            "Give what `edgenext eval --json` or `compare --json` printed, or a run's run.json",
        )
    return {row.sha256: row for row in rows if row.sha256 and row.n > 0 and row.is_possible}


def _rows(path: Path, values: dict[str, Any]) -> Iterable[Accuracy] | None:
    if "results" in values:
        return _evaluated(read_record(path, EvalReport, "what `eval --json` prints"))
    if "others" in values:
        return _compared(read_record(path, CompareReport, "what `compare --json` prints"))
    if "eval" in values:
        return _evaluated(read_record(path, RunSummary, "the summary of a run").eval)
    return None


def _evaluated(report: EvalReport) -> Iterator[Accuracy]:
    for row in report.results:
        yield Accuracy(
            row.sha256, row.top1, row.top5, row.n, row.data, row.runtime, str(row.evidence)
        )


def _compared(report: CompareReport) -> Iterator[Accuracy]:
    for row in report.others:
        yield Accuracy(
            row.sha256, row.top1, row.top5, report.n, report.data, row.runtime, str(row.evidence)
        )
    base = report.base
    yield Accuracy(
        base.sha256, base.top1, base.top5, report.n, report.data, "", str(report.evidence)
    )
