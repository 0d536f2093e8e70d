"""What changed from one run to another."""

from __future__ import annotations

from typing import Literal

from edgenext.schema.base import Record
from edgenext.schema.run import Decision

ChangeOutcome = Literal[
    "better", "worse", "within noise", "no change", "not comparable", "added", "removed"
]


class Change(Record):
    """One figure of one artifact on one device, before and now.

    `change` is in points for `top1` (now − before, paired), a factor for the others: 2 is twice as
    fast, or twice as large. `ci95` is its interval, None for exact figures. `outcome` is `better`
    or `worse` only if the whole interval is; `reason` says why figures are not comparable.
    """

    artifact: str
    device: str
    metric: Literal["top1", "p50_ms", "speedup", "size_mib"]
    before: float | None
    now: float | None
    change: float | None = None
    ci95: tuple[float, float] | None = None
    outcome: ChangeOutcome
    reason: str = ""


class ChangeReport(Record):
    """`changes` in report.json, of `edgenext report NEW --against OLD`."""

    against: str
    before: Decision
    now: Decision
    rows: tuple[Change, ...]
