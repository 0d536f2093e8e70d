"""Conditions on results: which hold, which do not, and which the results cannot decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgenext.report.ci.expression import Condition
from edgenext.report.ci.metrics import Measure, metrics
from edgenext.report.ci.results import ResultRow
from edgenext.schema import GateCase, GateOutcome, GateReport

OUTCOMES: dict[bool | None, GateOutcome] = {True: "failed", False: "passed", None: "undecided"}
"""Whether a condition holds → what that means: conditions say what is to fail."""


def judge_rows(
    command: str, conditions: Sequence[Condition], rows: Sequence[ResultRow]
) -> GateReport:
    """A case for each condition and judged artifact."""
    cases = tuple(
        _case(condition, row) for row in rows if row.is_judged for condition in conditions
    )
    outcome: GateOutcome = "passed"
    if any(case.outcome == "failed" for case in cases):
        outcome = "failed"
    elif any(case.is_broken for case in cases):
        outcome = "undecided"
    return GateReport(command=command, outcome=outcome, cases=cases)


def _case(condition: Condition, row: ResultRow) -> GateCase:
    details = (_detail(name, row.measures) for name in condition.expression.metrics)
    return GateCase(
        artifact=row.artifact,
        device=row.device,
        condition=str(condition),
        outcome=OUTCOMES[condition.expression.holds(row.measures)],
        undecided_fails=condition.undecided_fails,
        detail="; ".join(details),
    )


def _detail(name: str, measures: Mapping[str, Measure]) -> str:
    """What was measured of a metric, or what the report says of a word."""
    metric = metrics()[name]
    shown = measures.get(name, Measure(reason="not measured")).shown(metric)
    return shown if metric.is_word else f"{name} is {shown}"
