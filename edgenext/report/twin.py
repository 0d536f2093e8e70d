"""Every engine on the network and on its stressed twin: the collapse, and the cure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgenext.report.study import OURS, Study
from edgenext.report.text import count, decibels, number, span
from edgenext.schema import TwinReport, TwinRow

TITLE = "The same network, badly scaled"
COLUMNS = ("Quantizer", "INT8 of", "Top-1, %", "Drop, points", "Same answer, %", "SQNR, dB")


@dataclass(frozen=True)
class TwinTable:
    """What a twin is, what the rows show, the rows under `COLUMNS`, and how they were made.

    Backticks set off what is typed.
    """

    about: str
    findings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


def twin_table(study: Study) -> TwinTable | None:
    """The section of a run that stressed its network."""
    found = study.summary.twin
    if found is None:
        return None
    return TwinTable(
        about=(
            "A twin is the same function, badly scaled: `edgenext stress` multiplies its channels "
            f"by powers of two, here up to 2^{number(found.strength)} (seed {found.seed}), in ways "
            "that cancel. Training may leave a network so; what a quantizer loses on the twin "
            "shows how much it counts on well-scaled channels."
        ),
        findings=tuple(_findings(found)),
        rows=tuple(map(_row, found.rows)),
        note=(
            "All drops are from the network’s own plain FP32 export, on the same "
            f"{count(found.n, 'image')} (evidence: {study.summary.compare.evidence}). A twin’s "
            "graph is the network’s with other weights, and as fast: it is not timed, and counts "
            "for nothing in the verdict."
        ),
    )


def _findings(found: TwinReport) -> Iterator[str]:
    """What became of each engine, in a sentence."""
    rows = {(row.engine, row.on): row for row in found.rows}
    for engine in dict.fromkeys(row.engine for row in found.rows):
        network, twin = rows.get((engine, "network")), rows.get((engine, "twin"))
        if network and twin:
            yield _finding(network, twin, found.same_file and engine == OURS)


def _finding(network: TwinRow, twin: TwinRow, same_file: bool) -> str:
    if same_file:
        return (
            "Ours gives the twin and the network the very same file, to the byte (sha256 "
            f"{twin.comparison.sha256[:12]}…)."
        )
    who = _called(twin.engine).capitalize() if twin.engine == OURS else _called(twin.engine)
    both = f"a drop of {_drop(twin)} on the twin, of {_drop(network)} on the network, in points"
    apart = twin.comparison.drop.ci95[0] > network.comparison.drop.ci95[1]
    return f"{who} {'collapses' if apart else 'holds'}: {both}."


def _called(engine: str) -> str:
    return "ours" if engine == OURS else f"{engine} with its defaults"


def _drop(row: TwinRow) -> str:
    drop = row.comparison.drop
    return f"{number(drop.points, 2)} ({span(*drop.ci95, 2)})"


def _row(row: TwinRow) -> tuple[str, ...]:
    return (
        _called(row.engine),
        f"the {row.on}",
        number(row.comparison.top1, 2),
        _drop(row),
        number(row.comparison.agreement, 1),
        decibels(row.comparison.sqnr_db),
    )
