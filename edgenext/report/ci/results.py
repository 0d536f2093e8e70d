"""Results by artifact and device: a row each, whatever command measured them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath

from edgenext.options import THIS_CPU
from edgenext.report.ci.metrics import Measure
from edgenext.report.conditions import floats_to_beat
from edgenext.report.speed import fastest, interval, round_medians, speed
from edgenext.report.study import Entry, Study
from edgenext.report.text import mebibytes
from edgenext.schema import (
    TIMED,
    Accuracy,
    BenchReport,
    BenchResult,
    Candidate,
    CompareReport,
    Comparison,
    Drop,
    EvalResult,
    SearchReport,
    SubsetInfo,
    Verdict,
)

CALIBRATED_ON = "measured on the images it was calibrated on"

Facts = dict[str, str | float]
"""What a row has besides its measures, by column."""


@dataclass(frozen=True)
class ResultRow:
    """Everything that was measured of one artifact on one device.

    `is_judged` is whether conditions are about it: about a base they are not.
    """

    artifact: str
    device: str = THIS_CPU
    is_judged: bool = True
    measures: Mapping[str, Measure] = field(default_factory=dict)
    facts: Facts = field(default_factory=dict)


def compare_rows(report: CompareReport, sizes: Mapping[str, int]) -> list[ResultRow]:
    """The base, and what was compared with it.

    Args:
        report: the comparison.
        sizes: bytes of artifacts by sha256; of networks there is none.
    """
    base = ResultRow(
        report.base.artifact,
        is_judged=False,
        measures=_top1(report.base, report.n, report.others[0].drop)
        | _size(report.base.sha256, "", sizes),
        facts=_accuracy_facts(report.base, report.n),
    )
    others = (
        ResultRow(
            c.artifact,
            measures=comparison_measures(c, report.n) | _size(c.sha256, report.base.sha256, sizes),
            facts=_comparison_facts(c, report.n),
        )
        for c in report.others
    )
    return [base, *others]


def bench_rows(report: BenchReport, sizes: Mapping[str, int]) -> list[ResultRow]:
    """Every artifact that was timed; alone, it is judged, else the first is the base."""
    first = report.results[0]
    compared = {c.artifact: c for c in report.compare.others} if report.compare else {}
    n = report.compare.n if report.compare else 0
    scores = {s.artifact: s for s in report.eval.results} if report.eval else {}
    rows = []
    for result in report.results:
        measures = {"p50_ms": latency_measure(result, report)}
        if speedup := speedup_measure(result, report):
            measures["speedup"] = speedup
        measures |= _size(result.sha256, "" if result is first else first.sha256, sizes)
        facts = _timing_facts(result)
        if score := scores.get(result.artifact):
            measures |= _top1(score, score.n)
            facts |= _accuracy_facts(score, score.n)
        if comparison := compared.get(result.artifact):
            measures |= comparison_measures(comparison, n)
            facts |= _comparison_facts(comparison, n)
        alone = len(report.results) == 1
        rows.append(
            ResultRow(result.artifact, result.device, alone or result is not first, measures, facts)
        )
    return rows


def search_rows(report: SearchReport) -> list[ResultRow]:
    """The chosen file, on the images kept for reporting, then all candidates."""
    base = report.candidates[0]
    chosen = next(c for c in report.candidates if c.comparison.artifact == report.chosen)
    final = replace(_candidate_row(chosen, base, report.final, report.reporting), is_judged=True)
    return [
        final,
        *(_candidate_row(c, base, c.comparison, report.choosing) for c in report.candidates),
    ]


def run_rows(study: Study, verdict: Verdict) -> list[ResultRow]:
    """Every artifact of a run, of which the verdict's is judged, then those of other devices."""
    floats = floats_to_beat(study, verdict.budget)
    rows = []
    for entry in study.entries:
        is_judged = entry.name == verdict.artifact
        measures = dict(_entry_measures(entry, study, fastest(floats)))
        if is_judged:
            holds = None if verdict.pays is None else not verdict.pays
            reason = f"the report says {verdict.decision}"
            measures["do_not_ship"] = Measure(holds=holds, reason=reason)
        device = entry.bench.device if entry.bench else THIS_CPU
        rows.append(ResultRow(entry.name, device, is_judged, measures, _entry_facts(entry, study)))
    if verdict.artifact is None:
        unknown = Measure(holds=None, reason=f"the report says {verdict.decision}")
        rows.append(ResultRow("no INT8 file", measures={"do_not_ship": unknown}))
    for report in study.summary.devices:
        if report.results and report.results[0].device not in {row.device for row in rows}:
            sizes = {a.sha256: a.size_bytes for a in study.summary.artifacts}
            rows += (replace(row, is_judged=False) for row in bench_rows(report, sizes))
    return rows


def _entry_measures(
    entry: Entry, study: Study, fastest_float: Entry | None
) -> Iterator[tuple[str, Measure]]:
    summary = study.summary
    scores = (
        entry.scores or entry.comparison or (summary.compare.base if entry is study.base else None)
    )
    if scores:
        n = entry.scores.n if entry.scores else summary.compare.n
        yield from _top1(scores, n).items()
    if entry.comparison:
        measured = comparison_measures(entry.comparison, summary.compare.n)
        data, calibration = summary.compare.data, summary.calibration
        if entry.kind == "int8" and data and calibration and data.sha256 == calibration.sha256:
            measured["drop"] = Measure(measured["drop"].value, reason=CALIBRATED_ON)
        yield from measured.items()
    if entry.bench and not study.away:
        yield "p50_ms", latency_measure(entry.bench, study.bench)
    for name, other in (("speedup", study.base), ("speedup_float", fastest_float)):
        if entry is not other:
            yield name, _speed_measure(entry, other, study)
    if entry.artifact:
        size = entry.artifact.size_bytes
        yield "size_mib", Measure.exact(mebibytes(size))
        base = study.base and study.base.artifact
        if base and base.size_bytes and entry is not study.base:
            yield "size_ratio", Measure.exact(size / base.size_bytes)


def _speed_measure(entry: Entry, other: Entry | None, study: Study) -> Measure:
    if study.away:
        return Measure(reason=f"nothing was timed on {study.away}")
    measured = speed(entry, other, study) if other else None
    if measured is None:
        return Measure(reason="they were not timed together")
    if not measured.valid:
        timings = (e.bench for e in (entry, other) if e and e.bench)
        return Measure(measured.times, reason=_invalid(*timings))
    return Measure(measured.times, measured.low, measured.high)


def comparison_measures(comparison: Comparison, n: int) -> dict[str, Measure]:
    """Drop, agreement, SQNR and top-1 of an artifact against its base on n images."""
    drop = comparison.drop
    return {
        "drop": Measure(drop.points, *drop.ci95),
        "agreement": _share(comparison.agreement, n, drop),
        "sqnr": Measure.exact(comparison.sqnr_db),
    } | _top1(comparison, n, drop)


def _top1(
    scores: Comparison | Accuracy | EvalResult, n: int, drop: Drop | None = None
) -> dict[str, Measure]:
    return {"top1": _share(scores.top1, n, drop)}


def _share(percent: float, n: int, drop: Drop | None = None) -> Measure:
    """A share of n images in percent, with Wilson's 95 % interval.

    Where the drop of the same images has a confidence sequence, the share has one too.
    """
    hits = round(percent * n / 100)
    if drop and drop.interval == "sequence":
        from edgenext.metrics.sequence import sequence_interval

        low, high = sequence_interval(hits, 0, n)
        return Measure(percent, max(0.0, low), high)
    from edgenext.metrics.statistics import wilson_interval

    return Measure(percent, *wilson_interval(hits, n))


def latency_measure(result: BenchResult, report: BenchReport) -> Measure:
    """The median in ms, with a bootstrap interval over the rounds and the noise floor."""
    if result.latency_ms is None:
        return Measure(reason="nothing was timed")
    if not result.valid or result.evidence not in TIMED:
        return Measure(result.p50_ms, reason=_invalid(result))
    medians = round_medians(result)
    if medians is None:
        return Measure(result.p50_ms, reason="its samples are not divided into rounds")
    from edgenext.benchmark.noise import floor_of, widened
    from edgenext.metrics.statistics import bootstrap_median_interval

    limits = bootstrap_median_interval(medians, 0)
    return Measure(result.p50_ms, *widened(limits, floor_of(report)))


def speedup_measure(result: BenchResult, report: BenchReport) -> Measure | None:
    """How many times as fast as the first file of the benchmark; None of that file itself."""
    first = report.results[0]
    if result is first:
        return None
    pair = (first.artifact, result.artifact)
    ratio = next((r for r in report.ratios if (r.a, r.b) == pair), None)
    if ratio is None:
        return Measure(reason="they were not timed together")
    if not (ratio.valid and result.evidence in TIMED):
        return Measure(ratio.median, reason=_invalid(first, result))
    return Measure(ratio.median, *interval(ratio, report))


def _invalid(*timings: BenchResult) -> str:
    """Why timings are not valid, the fact of the first reason alone."""
    for timing in timings:
        if timing.reasons:
            return f"not valid: {timing.reasons[0].partition(': ')[0]}"
        if timing.evidence not in TIMED:
            return f"not measured: its evidence is {timing.evidence}"
    return "not valid"


def _size(sha256: str, base_sha256: str, sizes: Mapping[str, int]) -> dict[str, Measure]:
    size, base = sizes.get(sha256), sizes.get(base_sha256)
    if size is None:
        return {}
    measures = {"size_mib": Measure.exact(mebibytes(size))}
    return measures | ({"size_ratio": Measure.exact(size / base)} if base else {})


def images_used(comparison: Comparison, available: int) -> int:
    """How many images a comparison of a search is on."""
    return comparison.decision.n if comparison.decision else available


def _candidate_row(
    candidate: Candidate, base: Candidate, comparison: Comparison, images: SubsetInfo
) -> ResultRow:
    n = images_used(comparison, images.n)
    measures = comparison_measures(comparison, n)
    limits = candidate.speed_ci95
    if candidate is not base:
        if candidate.valid and base.valid and limits:
            measures["speedup"] = Measure(candidate.speed, *limits)
        else:
            measures["speedup"] = Measure(candidate.speed, reason="the timing is not valid")
        measures["size_ratio"] = Measure.exact(candidate.size_bytes / base.size_bytes)
    measures["size_mib"] = Measure.exact(mebibytes(candidate.size_bytes))
    facts = _comparison_facts(comparison, n)
    facts |= {"images": images.sha256, "p50_ms": candidate.p50_ms}
    return ResultRow(comparison.artifact, THIS_CPU, False, measures, facts)


def _entry_facts(entry: Entry, study: Study) -> Facts:
    facts: Facts = {"scheme": entry.scheme}
    if entry.artifact:
        facts |= {"file": PurePath(entry.artifact.artifact).name, "sha256": entry.artifact.sha256}
    if entry.scores:
        facts |= _accuracy_facts(entry.scores, entry.scores.n)
    if entry.comparison:
        facts |= _comparison_facts(entry.comparison, study.summary.compare.n)
    return facts | (_timing_facts(entry.bench) if entry.bench else {})


def _accuracy_facts(scores: Accuracy | EvalResult, n: int) -> Facts:
    facts: Facts = {"sha256": scores.sha256, "n": n, "top5": scores.top5}
    if isinstance(scores, EvalResult):
        facts |= {"scheme": scores.scheme, "runtime": scores.runtime}
        facts |= {"evidence": scores.evidence, "loss": scores.loss}
    return facts


def _comparison_facts(comparison: Comparison, n: int) -> Facts:
    drop = comparison.drop
    facts: Facts = {"lost": drop.lost, "gained": drop.gained, "p_value": drop.p_value}
    facts["interval"] = drop.interval
    names = ("sha256", "scheme", "runtime", "evidence", "top5", "cosine", "kl")
    return facts | {"n": n} | {name: getattr(comparison, name) for name in names}


def _timing_facts(result: BenchResult) -> Facts:
    facts: Facts = {"scheme": result.scheme, "sha256": result.sha256, "runtime": result.runtime}
    facts |= {"unit": result.unit, "threads": result.threads, "batch": result.batch}
    facts |= {"evidence": result.evidence, "valid": "yes" if result.valid else "no"}
    facts |= {"reasons": "; ".join(result.reasons), "peak_rss_mb": result.peak_rss_mb}
    if result.latency_ms:
        facts |= {"p90_ms": result.latency_ms.p90, "p99_ms": result.latency_ms.p99}
    times = {"load_ms": result.load_ms, "first_ms": result.first_ms}
    return facts | {name: value for name, value in times.items() if value is not None}
