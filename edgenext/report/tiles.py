"""The four figures a reader looks for first."""

from __future__ import annotations

from dataclasses import dataclass

from edgenext.report.speed import speed
from edgenext.report.study import Entry, Study
from edgenext.report.text import NOTHING, decibels, mebibytes, number, span, times


@dataclass(frozen=True)
class Tile:
    """A figure, what it is, and what stands behind it."""

    value: str
    name: str
    note: str


def tiles(study: Study, judged: Entry | None) -> list[Tile]:
    """Speed, size, drop and fidelity of the file that was judged.

    A speed that is not valid is not shown here: it stands, struck out, in the table.
    """
    if judged is None:
        return []
    base = study.base
    made = []
    fast = speed(judged, base, study) if base else None
    if fast and fast.valid and base:
        value, interval = times(fast.times, fast.low, fast.high)
        made.append(Tile(value, "as fast", f"{interval}, {base.label} = 1"))
    else:
        why = "the timing is not valid" if judged.bench else "not timed"
        made.append(Tile(NOTHING, "speed", why))
    if judged.artifact and base and base.artifact and base.artifact.size_bytes:
        mine, whole = judged.artifact.size_bytes, base.artifact.size_bytes
        both = f"{number(mebibytes(mine), 2)} of {number(mebibytes(whole), 2)} MiB"
        made.append(Tile(f"{number(mine / whole, 2)}x", "the size", both))
    if judged.comparison:
        drop = judged.comparison.drop
        note = f"{span(*drop.ci95, 2)}, n = {study.summary.compare.n:,}"
        made.append(Tile(number(drop.points, 2), "points of top-1 lost", note))
        agreement = f"{number(judged.comparison.agreement, 1)} %"
        note = f"SQNR {decibels(judged.comparison.sqnr_db)} dB"
        made.append(Tile(agreement, "same answers", note))
    return made
