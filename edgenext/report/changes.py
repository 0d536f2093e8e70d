"""What changed since another run, beyond noise, by artifact and device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from edgenext.errors import InputError
from edgenext.options import THIS_CPU
from edgenext.report.ci.metrics import Measure
from edgenext.report.ci.results import latency_measure, speedup_measure
from edgenext.report.findings import Findings
from edgenext.report.load import load_summary
from edgenext.report.predictions import RunPredictions, load_predictions
from edgenext.report.study import Entry, Study, study_of
from edgenext.report.text import NOTHING, count, mebibytes, number, span
from edgenext.report.verdict import judge
from edgenext.schema import (
    BenchReport,
    BenchResult,
    Change,
    ChangeOutcome,
    ChangeReport,
    Environment,
    Verdict,
)

TITLES = {
    "top1": ("Top-1, %", 2),
    "p50_ms": ("Latency p50, ms", 2),
    "speedup": ("Speed, base = 1", 3),
    "size_mib": ("File, MiB", 2),
}
"""Metric → its name, and digits after the point."""
COLUMNS = ("Artifact", "Device", "Figure", "Outcome", "Before", "Now", "Change")
COUNTED: tuple[ChangeOutcome, ...] = (
    *("worse", "better", "within noise", "no change", "not comparable", "added", "removed"),
)


@dataclass(frozen=True)
class Side:
    """One of two runs: joined, judged, and what every artifact answered."""

    name: str
    study: Study
    verdict: Verdict
    predictions: RunPredictions | None

    @staticmethod
    def of(folder: Path, budget: float) -> Side:
        """The side of a run's folder.

        Raises:
            InputError: it contains no finished run.
        """
        study = study_of(load_summary(folder))
        verdict = judge(study, budget)
        return Side(folder.resolve().name, study, verdict, load_predictions(folder))

    @property
    def benchmarks(self) -> dict[str, BenchReport]:
        """Latencies by device, those of this machine first."""
        reports = (self.study.summary.bench, *self.study.summary.devices)
        return {report.results[0].device: report for report in reports if report.results}


def changes(new: Side, old: Side) -> ChangeReport:
    """Every figure of both runs.

    Raises:
        InputError: the two runs have no artifact in common.
    """
    before = {entry.name: entry for entry in old.study.entries}
    now = {entry.name: entry for entry in new.study.entries}
    if not before.keys() & now.keys():
        raise InputError(
            f"{new.name} and {old.name} have no file in common",
            "Compare runs of one network, whose files have the same names",
        )
    rows: list[Change] = []
    for name in dict.fromkeys((*now, *before)):
        if name in now and name in before:
            rows += _accuracy(now[name], before[name], new, old)
            rows += _size(now[name], before[name])
        else:
            known, outcome = (now, "added") if name in now else (before, "removed")
            rows.append(_alone(known[name], outcome == "added"))
    for device, report in new.benchmarks.items():
        if earlier := old.benchmarks.get(device):
            rows += _timings(device, report, earlier)
    return ChangeReport(
        against=old.name,
        before=old.verdict.decision,
        now=new.verdict.decision,
        rows=tuple(rows),
    )


def changes_table(report: ChangeReport | None) -> Findings | None:
    """The section on what changed; None if no other run was given."""
    if report is None:
        return None
    outcomes = [row.outcome for row in report.rows]
    counts = (f"{outcomes.count(o)} {o}" for o in COUNTED if o in outcomes)
    decision = (
        f"Still {report.now}."
        if report.now == report.before
        else f"{report.now}, where {report.against} says {report.before}."
    )
    order = {outcome: place for place, outcome in enumerate(COUNTED)}
    rows = sorted(report.rows, key=lambda row: order[row.outcome])
    return Findings(
        title=f"What changed since {report.against}",
        columns=COLUMNS,
        about=f"Of {count(len(outcomes), 'figure')}: {', '.join(counts)}.",
        findings=(decision,),
        rows=tuple(map(_cells, rows)),
        note=(
            "Top-1 is compared on the same images, image by image, with Tango’s interval. "
            "Latencies are of two benchmarks, each with a bootstrap interval over its rounds and "
            "its noise floor in it: a change counts only if the intervals do not meet. The speed "
            "against the base, which took turns with the file, is compared where the base is the "
            "same file."
        ),
    )


def _cells(row: Change) -> tuple[str, ...]:
    title, digits = TITLES[row.metric]
    change = NOTHING
    if row.change is not None:
        is_points = row.metric == "top1"
        sign = "+" if is_points and row.change > 0 else ""
        change = f"{sign}{number(row.change, 2 if is_points else 3)}{'' if is_points else 'x'}"
        if row.ci95:
            change += f" ({span(*row.ci95, 2 if is_points else 3)})"
    values = (NOTHING if v is None else number(v, digits) for v in (row.before, row.now))
    outcome = f"{row.outcome}: {row.reason}" if row.reason else row.outcome
    return row.artifact, row.device, title, outcome, *values, change


def _alone(entry: Entry, is_new: bool) -> Change:
    """A file that only one of the runs has, by its top-1."""
    scores = entry.scores or entry.comparison
    top1 = scores.top1 if scores else None
    return Change(
        artifact=entry.name,
        device=THIS_CPU,
        metric="top1",
        before=None if is_new else top1,
        now=top1 if is_new else None,
        outcome="added" if is_new else "removed",
    )


def _accuracy(now: Entry, before: Entry, new: Side, old: Side) -> Iterator[Change]:
    if not now.scores or not before.scores:
        return

    def change(
        outcome: ChangeOutcome,
        points: float | None = None,
        ci95: tuple[float, float] | None = None,
        reason: str = "",
    ) -> Change:
        assert now.scores and before.scores  # noqa: S101 - see above
        return Change(
            artifact=now.name,
            device=THIS_CPU,
            metric="top1",
            before=before.scores.top1,
            now=now.scores.top1,
            change=points,
            ci95=ci95,
            outcome=outcome,
            reason=reason,
        )

    data = new.study.summary.compare.data, old.study.summary.compare.data
    if not (data[0] and data[1] and data[0].sha256 == data[1].sha256):
        yield change("not comparable", reason="they were scored on other images")
        return
    ours, theirs = new.predictions, old.predictions
    best = (ours and ours.by_name.get(now.name)), (theirs and theirs.by_name.get(now.name))
    if not (ours and theirs and best[0] and best[1] and len(ours.labels) == len(theirs.labels)):
        yield change("not comparable", reason="a run has no predictions.npz of it")
        return
    from edgenext.metrics.statistics import tango_interval

    right, was_right = best[0].first == ours.labels, best[1].first == theirs.labels
    lost = int(np.sum(was_right & ~right))
    gained = int(np.sum(right & ~was_right))
    if lost == gained == 0:
        yield change("no change", 0.0)
        return
    n = len(ours.labels)
    low, high = tango_interval(gained, lost, n)
    yield change(_outcome(low, high, 0.0), 100 * (gained - lost) / n, (low, high))


def _size(now: Entry, before: Entry) -> Iterator[Change]:
    if not now.artifact or not before.artifact or not before.artifact.size_bytes:
        return
    ratio = now.artifact.size_bytes / before.artifact.size_bytes
    yield Change(
        artifact=now.name,
        device=THIS_CPU,
        metric="size_mib",
        before=mebibytes(before.artifact.size_bytes),
        now=mebibytes(now.artifact.size_bytes),
        change=ratio,
        outcome="no change" if ratio == 1 else "better" if ratio < 1 else "worse",
    )


def _timings(device: str, now: BenchReport, before: BenchReport) -> Iterator[Change]:
    """Latency and relative speed of each file that both benchmarks timed."""
    earlier = {result.artifact: result for result in before.results}
    same_base = now.results[0].sha256 == before.results[0].sha256 != ""
    for result in now.results:
        old = earlier.get(result.artifact)
        if old is None:
            continue
        start = partial(Change, artifact=result.artifact, device=device)
        reason = _difference(now, before) or _condition(result, old)
        latencies = latency_measure(result, now), latency_measure(old, before)
        yield _timing(partial(start, metric="p50_ms"), *latencies, reason)
        speeds = speedup_measure(result, now), speedup_measure(old, before)
        if same_base and speeds[0] and speeds[1]:
            yield _timing(partial(start, metric="speedup"), speeds[0], speeds[1], reason)


def _timing(change: partial[Change], now: Measure, before: Measure, reason: str) -> Change:
    """How many times as fast a file is as before."""
    change = partial(change, now=now.value, before=before.value)
    reason = reason or now.reason or before.reason
    if reason or not (now.value and now.low and now.high):
        return change(outcome="not comparable", reason=reason or "no time was measured")
    if not (before.value and before.low and before.high):
        return change(outcome="not comparable", reason="no time was measured before")
    factor = now.value / before.value
    low, high = now.low / before.high, now.high / before.low
    if change.keywords["metric"] == "p50_ms":  # the lower, the faster
        factor, low, high = 1 / factor, 1 / high, 1 / low
    return change(change=factor, ci95=(low, high), outcome=_outcome(low, high, 1.0))


def _outcome(low: float, high: float, nothing: float) -> ChangeOutcome:
    """Whether a change, of which more is better, is more than `nothing`."""
    return "better" if low > nothing else "worse" if high < nothing else "within noise"


def _difference(now: BenchReport, before: BenchReport) -> str:
    """Why latencies of two benchmarks cannot be compared; empty if they can."""
    if _machine(now) != _machine(before):
        return "they were timed on other machines"
    return ""


def _machine(report: BenchReport) -> tuple[str, ...]:
    env: Environment | None = report.environment
    if report.device:
        return report.device.model, report.device.power_mode
    return (env.cpu, str(env.cores), *env.isa) if env else ()


def _condition(now: BenchResult, before: BenchResult) -> str:
    names = ("threads", "batch", "size", "unit")
    other = [name for name in names if getattr(now, name) != getattr(before, name)]
    return f"they were timed with other {' and '.join(other)}" if other else ""
