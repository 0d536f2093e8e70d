"""A benchmark as a table: a row an artifact, and the notes underneath."""

from __future__ import annotations

from collections.abc import Iterator

from edgenext.report.text import reasons_once
from edgenext.schema import BenchReport, BenchResult, Ratio

TIMES = ("p50 ms", "p90", "p99", "n", "load ms", "first ms")
"""Columns that are left out where nothing was timed."""


def columns(report: BenchReport) -> tuple[str, ...]:
    """The heads of the table's columns."""
    return tuple(_cells(report.results[0], report))


def row(result: BenchResult, report: BenchReport) -> tuple[str, ...]:
    """One artifact's cells under `columns`."""
    return tuple(_cells(result, report).values())


def _cells(result: BenchResult, report: BenchReport) -> dict[str, str]:
    """A result by column; only columns that some result of the report has something for."""
    latency, energy = result.latency_ms, _energy(result)
    cells = {"artifact": result.artifact}
    if report.device:
        cells["unit"] = result.unit
    if any(r.latency_ms for r in report.results):
        values = (latency.p50, latency.p90, latency.p99) if latency else ()
        percentiles = [f"{v:.2f}" for v in values] or [""] * 3
        load = "" if result.load_ms is None else f"{result.load_ms:.0f}"
        first = "" if result.first_ms is None else f"{result.first_ms:.1f}"
        cells |= dict(zip(TIMES, (*percentiles, str(result.n), load, first), strict=True))
    if any(r.peak_rss_mb for r in report.results):
        cells["peak MiB"] = f"{result.peak_rss_mb:.0f}"
    if any(_energy(r) for r in report.results):
        cells["mJ"] = f"{energy:.1f}" if energy else ""
    return cells | {"valid": "yes" if result.valid else "NO"}


def machine_line(report: BenchReport) -> str:
    """The machine and the runtimes that measured."""
    first, env, device = report.results[0], report.environment, report.device
    if device:
        names = (first.device, device.model, env.cpu if env and not device.model else "")
        power = (device.power_mode and f"power mode {device.power_mode}",)
        machine = ", ".join(filter(None, dict.fromkeys((*names, *power))))
    else:
        machine = f"{env.cpu} ({', '.join(env.isa)})" if env else ""
    runtimes = ", ".join(dict.fromkeys(r.runtime for r in report.results))
    conditions = f"{runtimes}, {first.threads} thread(s), batch {first.batch}"
    evidence = "" if first.evidence == "host" else f", evidence {first.evidence}"
    return f"{machine}, {conditions}{evidence}" if machine else f"{conditions}{evidence}"


def notes(report: BenchReport) -> Iterator[str]:
    """Why a result is not valid, how the artifacts compare, and the notes of the device."""
    for names, reason in reasons_once((r.artifact, r.reasons) for r in report.results):
        yield f"not valid: {', '.join(names)}: {reason}"
    first = report.results[0].artifact
    if noise := report.noise:
        low, high = noise.ci95
        yield (
            f"noise floor {100 * noise.floor:.1f} %: {first} in a second process had "
            f"{noise.ratio:.3f}x its latency (95 % interval {low:.3f} to {high:.3f}), which the "
            "intervals below include"
        )
    for ratio in report.ratios:
        if ratio.b != first:  # each pair once: how much faster than the first
            low, high = ratio.ci95
            yield (
                f"{ratio.b} runs {ratio.median:.3f}x as fast as {ratio.a} "
                f"(95 % interval {low:.3f} to {high:.3f}){_doubts(ratio)}"
            )
    for result in report.results:
        if sustained := result.sustained:
            span = f"{sustained.first_third_ms:.2f} to {sustained.last_third_ms:.2f} ms"
            yield (
                f"{result.artifact}: {sustained.drift:+.1%} in {sustained.seconds / 60:.1f} "
                f"minutes ({span}, first and last third)"
            )
    for other in report.published:
        yield (
            f"published: {other.arch} at {other.size} on {other.device}: {other.ms:g} ms "
            f"({other.source})"
        )
    if report.device:
        yield from (f"note: {note}" for note in report.device.notes)


def _doubts(ratio: Ratio) -> str:
    """What speaks against a ratio: it does not differ measurably from 1, or is not valid."""
    is_close = ratio.distinguishable is False
    doubt = ": no measurable difference on this machine" if is_close else ""
    return f"{doubt}{'' if ratio.valid else ', not valid'}"


def _energy(result: BenchResult) -> float | None:
    return result.telemetry.energy_mj if result.telemetry else None
