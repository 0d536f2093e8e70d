"""Conditions of `--fail-if`, and what became of them."""

from __future__ import annotations

from typing import Literal

from edgenext.schema.base import Record

GateOutcome = Literal["passed", "failed", "undecided"]


class GateCase(Record):
    """One condition and one artifact.

    `failed` means that the condition holds, `passed` that it does not. `undecided_fails` is whether
    the condition had to be decided. `detail` has the measured values with their intervals.
    """

    artifact: str
    device: str
    condition: str
    outcome: GateOutcome
    undecided_fails: bool
    detail: str

    @property
    def is_broken(self) -> bool:
        """Whether the case ends the command with an exit code other than 0."""
        return self.outcome == "failed" or (self.outcome == "undecided" and self.undecided_fails)


class GateReport(Record):
    """What became of `--fail-if`: `failed` ends with exit code 13, `undecided` with 14.

    A report without cases has passed: nothing was to be judged.
    """

    command: str
    outcome: GateOutcome
    cases: tuple[GateCase, ...] = ()
