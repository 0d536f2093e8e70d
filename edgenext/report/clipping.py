"""How much the INT8 ranges cut off of what the calibration images gave."""

from __future__ import annotations

from edgenext.report.findings import Findings
from edgenext.report.study import Study
from edgenext.report.text import count, number, significant

TITLE = "What the INT8 ranges cut off"
COLUMNS = ("Site", "Tensor", "Values cut off, %", "Range", "Values seen", "Span cut, %")
SHOWN = 10
"""Tensors in the table."""


def clipping_table(study: Study) -> Findings | None:
    """The tensors whose ranges clip most; None if no range is known to clip."""
    rows = sorted(study.summary.clipping.items(), key=lambda row: (-row[1].share, -row[1].cut))
    if not rows:
        return None
    worst_name, worst = rows[0]
    return Findings(
        title=TITLE,
        columns=COLUMNS,
        about=(
            "The range of a tensor is what its levels cover. A range that is narrower than the "
            "values has finer steps, and cuts off the values outside (clipping). "
            f"{count(len(rows), 'tensor')} of this package’s INT8 file "
            f"{'has' if len(rows) == 1 else 'have'} such a range"
            + (f"; the {SHOWN} that clip most are shown." if len(rows) > SHOWN else ".")
        ),
        findings=(
            f"At most {_percent(worst.share)} % of the values of a tensor are cut off "
            f"({worst.site or worst_name}).",
        ),
        rows=tuple(
            (
                row.site,
                name,
                _percent(row.share),
                f"{significant(row.low)} to {significant(row.high)}",
                f"{significant(row.least)} to {significant(row.most)}",
                number(100 * row.cut, 0),
            )
            for name, row in rows[:SHOWN]
        ),
        note=(
            "Counted on a sample of each tensor’s values over the calibration images. The span is "
            "what lies between the smallest and the largest value seen. Inputs of activations such "
            "as GELU are not counted: they are cut where the activation is flat."
        ),
    )


def _percent(share: float) -> str:
    return "< 0.001" if 0 < share < 1e-5 else number(100 * share, 3)
