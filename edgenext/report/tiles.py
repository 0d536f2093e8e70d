"""The four figures that a reader looks for first."""

from __future__ import annotations

from dataclasses import dataclass

from edgenext.report.speed import speed
from edgenext.report.study import Entry, Study
from edgenext.report.text import NOTHING, change_of, decibels, mebibytes, number, span, times


@dataclass(frozen=True)
class Tile:
    """A figure, its name, and its interval or origin."""

    value: str
    name: str
    note: str


def tiles(study: Study, judged: Entry | None) -> list[Tile]:
    """Speed, size, drop and fidelity of the file that was judged.

    A speed that is not valid is not shown here; it is in the table, struck out.
    """
    if judged is None:
        return []
    base = study.base
    result = []
    measured = speed(judged, base, study) if base else None
    if measured and measured.valid and base:
        value, interval = times(measured.times, measured.low, measured.high)
        result.append(Tile(value, "as fast", f"{interval}, {base.label} = 1"))
    else:
        reason = "the timing is not valid" if judged.bench else "not timed"
        result.append(Tile(NOTHING, "speed", reason))
    if judged.artifact and base and base.artifact and base.artifact.size_bytes:
        size, base_size = judged.artifact.size_bytes, base.artifact.size_bytes
        sizes = f"{number(mebibytes(size), 2)} of {number(mebibytes(base_size), 2)} MiB"
        result.append(Tile(f"{number(size / base_size, 2)}x", "the size", sizes))
    if judged.comparison:
        drop = judged.comparison.drop
        change, low, high = change_of(drop)
        note = f"{span(low, high, 2)}, n = {study.summary.compare.n:,}"
        result.append(Tile(number(abs(drop.points), 2), f"points of top-1 {change}", note))
        agreement = f"{number(judged.comparison.agreement, 1)} %"
        note = f"SQNR {decibels(judged.comparison.sqnr_db)} dB"
        result.append(Tile(agreement, "same answers", note))
    return result
