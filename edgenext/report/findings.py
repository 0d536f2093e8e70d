"""A section of a report: what it is about, findings in sentences, and the table behind them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Findings:
    """What was compared, what the rows show, the rows under `columns`, and how they were measured.

    The first two columns are names, the others figures. Backticks mark code.
    """

    title: str
    columns: tuple[str, ...]
    about: str
    findings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str
