"""Every quantizer on the network and on its stressed twin."""

from __future__ import annotations

from collections.abc import Iterator

from edgenext.options import ENGINE
from edgenext.quantize.baseline_rows import BASELINES, quantizer_title
from edgenext.report.findings import Findings
from edgenext.report.study import Study
from edgenext.report.text import count, decibels, number, span
from edgenext.schema import TwinReport, TwinRow

TITLE = "The same network, badly scaled"
COLUMNS = ("Quantizer", "INT8 of", "Top-1, %", "Drop, points", "Same answer, %", "SQNR, dB")


def twin_table(study: Study) -> Findings | None:
    """The section on the twin; None if the run did not stress its network."""
    report = study.summary.twin
    if report is None:
        return None
    return Findings(
        title=TITLE,
        columns=COLUMNS,
        about=(
            "A twin computes the same function with badly scaled channels: `edgenext stress` "
            f"multiplies them by powers of two, here up to 2^{number(report.strength)} (seed "
            f"{report.seed}), so that the factors cancel. Training can produce such a network; "
            "what a quantizer loses on the twin shows how much it relies on well-scaled channels."
        ),
        findings=tuple(_findings(report)),
        rows=tuple(map(_row, report.rows)),
        note=(
            "All drops are relative to the network’s plain FP32 export, on the same "
            f"{count(report.n, 'image')} (evidence: {study.summary.compare.evidence}). A twin has "
            "the network’s graph with other weights, and the same speed: it is not timed, and the "
            "verdict does not use it."
        ),
    )


def _findings(report: TwinReport) -> Iterator[str]:
    """What each quantizer loses on the twin, in a sentence."""
    rows = {(row.engine, row.on): row for row in report.rows}
    outcomes: dict[str, str] = {}
    for engine in dict.fromkeys(row.engine for row in report.rows):
        network, twin = rows.get((engine, "network")), rows.get((engine, "twin"))
        if network and twin:
            same_file = (report.same_file and engine == ENGINE) or _same_file(network, twin)
            outcomes[engine] = "same" if same_file else _outcome(network, twin)
            yield _finding(network, twin, outcomes[engine])
    of_others = {engine: o for engine, o in outcomes.items() if engine in BASELINES}
    folded = {o for engine, o in of_others.items() if BASELINES[engine].is_folded}
    plain = {o for engine, o in of_others.items() if not BASELINES[engine].is_folded}
    if folded and "collapses" in plain and "collapses" not in folded:
        yield (
            "Other quantizers hold too on the folded graph: what helps on the twin is folding, not "
            "the quantizer."
        )


def _same_file(network: TwinRow, twin: TwinRow) -> bool:
    sha256 = network.comparison.sha256
    return bool(sha256) and sha256 == twin.comparison.sha256


def _outcome(network: TwinRow, twin: TwinRow) -> str:
    """`collapses` if the whole interval of the twin's drop is above that of the network's."""
    worse = twin.comparison.drop.ci95[0] > network.comparison.drop.ci95[1]
    return "collapses" if worse else "holds"


def _finding(network: TwinRow, twin: TwinRow, outcome: str) -> str:
    name = quantizer_title(twin.engine)
    if outcome == "same":
        return (
            f"{name} writes the same file for the twin as for the network, byte for byte (sha256 "
            f"{twin.comparison.sha256[:12]}…)."
        )
    return (
        f"{name} {outcome}: it loses {_drop(twin)} points on the twin and {_drop(network)} points "
        "on the network."
    )


def _drop(row: TwinRow) -> str:
    drop = row.comparison.drop
    return f"{number(drop.points, 2)} ({span(*drop.ci95, 2)})"


def _row(row: TwinRow) -> tuple[str, ...]:
    return (
        quantizer_title(row.engine),
        f"the {row.on}",
        number(row.comparison.top1, 2),
        _drop(row),
        number(row.comparison.agreement, 1),
        decibels(row.comparison.sqnr_db),
    )
