"""Every engine on the network and on its stressed twin: the collapse, and the cure."""

from __future__ import annotations

from dataclasses import dataclass

from edgenext.report.study import OURS, Study
from edgenext.report.text import count, decibels, number, span
from edgenext.schema import TwinRow

TITLE = "Badly scaled channels"
COLUMNS = ("Quantizer", "Of the", "Top-1, %", "Drop, points", "Same answer, %", "SQNR, dB")


@dataclass(frozen=True)
class TwinTable:
    """What a twin is and what the rows show, and the rows under `COLUMNS`."""

    sentences: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def twin_table(study: Study) -> TwinTable | None:
    """The section of a run that stressed its network."""
    found = study.summary.twin
    if found is None:
        return None
    same = (
        "Ours brings both to one form first, and gave both the very same file, to the byte."
        if found.same_file
        else "Ours brings both to one form first."
    )
    return TwinTable(
        sentences=(
            "The twin is the same network: its channels are rescaled by powers of two, up to "
            f"2^{number(found.strength)}, in ways that cancel, as training may leave them. Its "
            "float logits are the same; what a quantizer makes of it shows how much it relies on "
            "well-scaled channels.",
            same,
            "Make one with `edgenext stress`, and test any quantizer with it. A twin has the same "
            "graph, so it is not timed again. Evidence: host, "
            f"{count(found.n, 'image')}, drops from the plain FP32 export.",
        ),
        rows=tuple(map(_row, found.rows)),
    )


def _row(row: TwinRow) -> tuple[str, ...]:
    drop = row.comparison.drop
    return (
        "ours" if row.engine == OURS else f"{row.engine}’s defaults",
        row.on,
        number(row.comparison.top1, 2),
        f"{number(drop.points, 2)} ({span(*drop.ci95, 2)})",
        number(row.comparison.agreement, 1),
        decibels(row.comparison.sqnr_db),
    )


def kept_rows(study: Study) -> list[tuple[str, str]]:
    """Reasons why sites stayed in float, each with how many and the first of them."""
    by_reason: dict[str, list[str]] = {}
    for site, reason in study.summary.kept_float.items():
        by_reason.setdefault(reason, []).append(site)
    return [
        (
            f"{count(len(sites), 'site')}: {', '.join(sites[:3])}{', …' if len(sites) > 3 else ''}",
            why,
        )
        for why, sites in by_reason.items()
    ]
