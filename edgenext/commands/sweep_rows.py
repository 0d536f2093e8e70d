"""The rows of a sweep's table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from edgenext.commands.sweep_shards import MergedScores
from edgenext.commands.sweep_store import FILES
from edgenext.errors import RefusedError, UsageError
from edgenext.formats.artifact import Artifact
from edgenext.schema import MadeArtifact, SubsetInfo, SweepPoint, SweepRow, TimedPair
from edgenext.system.jobs.job import JobError
from edgenext.targets.scheme import FLOAT

REFUSALS = (UsageError.__name__, RefusedError.__name__)
"""Errors that say that a target does not take a file of this kind."""


@dataclass(frozen=True)
class MeasuredPoint:
    """Everything that was measured of a point; `timed` is None where nothing was timed."""

    point: SweepPoint
    record: MadeArtifact
    scores: MergedScores
    base_scores: MergedScores
    timed: TimedPair | None


def unmeasured_row(point: SweepPoint, error: JobError) -> SweepRow:
    """The row of a point that was refused or has failed."""
    status = "refused" if error.kind in REFUSALS else "failed"
    facts = {"status": status, "error": str(error), "exit_code": error.exit_code}
    return SweepRow.model_validate(point.model_dump() | facts)


def measured_row(measured: MeasuredPoint, artifact: Artifact, images: SubsetInfo) -> SweepRow:
    """The row of a point that was measured."""
    record, scores = measured.record, measured.scores
    manifest = artifact.manifest
    facts: dict[str, Any] = measured.point.model_dump() | {
        "status": "measured",
        "path": f"{FILES}/{record.tree}/{record.file}",
        "format": manifest.format,
        "sha256": manifest.sha256,
        "size_bytes": manifest.size_bytes,
        "parity_db": manifest.parity.sqnr_db if manifest.parity else None,
        "images": images.sha256,
        "n": images.n,
        "top1": scores.top1,
        "top5": scores.top5,
        "loss": scores.loss,
        "logits_sha256": scores.logits_sha256,
        "runtime": scores.shards[0].runtime,
        "evidence": scores.shards[0].evidence,
    }
    if measured.point.scheme != FLOAT:
        facts |= _against_base(scores, measured.base_scores)
    if measured.timed:
        facts |= dict(_timing(measured.timed))
    elif measured.point.device:
        facts["reasons"] = f"not timed: its evidence is {facts['evidence']}"
    return SweepRow.model_validate(facts)


def _against_base(scores: MergedScores, base: MergedScores) -> dict[str, Any]:
    drop = scores.drop_from(base)
    return {
        "drop": drop.points,
        "drop_low": drop.ci95[0],
        "drop_high": drop.ci95[1],
        "lost": drop.lost,
        "gained": drop.gained,
        "agreement": scores.agreement_with(base),
        "sqnr_db": scores.sqnr_db,
        "cosine": scores.cosine,
        "kl": scores.kl,
    }


def _timing(timed: TimedPair) -> Iterator[tuple[str, Any]]:
    """The columns of a timing: of the last file, relative to the first."""
    report, result = timed.report, timed.report.results[-1]
    if result.latency_ms:
        yield "p50_ms", result.latency_ms.p50
        yield "p90_ms", result.latency_ms.p90
    ratio = report.speeds.get(result.artifact)
    if ratio:
        yield "speed", ratio.median
        yield "speed_low", ratio.ci95[0]
        yield "speed_high", ratio.ci95[1]
    yield "valid", result.valid and (ratio is None or ratio.valid)
    yield "reasons", "; ".join(result.reasons)
    yield "evidence", result.evidence
    yield "cpu", report.environment.cpu if report.environment else None
    yield from timed.worked.model_dump().items()
