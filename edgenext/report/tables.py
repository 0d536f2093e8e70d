"""The table of results: one column an artifact, one row a figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edgenext.report.speed import Speed, fastest, speed
from edgenext.report.study import UNTIMED, Entry, Study
from edgenext.report.text import (
    NOTHING,
    count,
    decibels,
    mebibytes,
    milliseconds,
    number,
    p_value,
    span,
    times,
)
from edgenext.schema import BenchResult, Comparison


@dataclass(frozen=True)
class Cell:
    """A figure, its interval or count, its evidence, and whether it is struck out."""

    text: str = NOTHING
    note: str = ""
    evidence: str = ""
    struck: bool = False


@dataclass(frozen=True)
class Row:
    """One figure of every artifact."""

    head: str
    cells: tuple[Cell, ...]

    @property
    def evidence(self) -> tuple[str, ...]:
        """What stands behind the figures, each label once."""
        return tuple(dict.fromkeys(c.evidence for c in self.cells if c.evidence))


@dataclass(frozen=True)
class Group:
    """Rows under one heading."""

    title: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Table:
    """Groups of rows; `columns` are the artifacts' labels, `notes` stand underneath."""

    columns: tuple[str, ...]
    groups: tuple[Group, ...]
    notes: tuple[str, ...]

    @property
    def evidence(self) -> frozenset[str]:
        """All evidence labels that occur."""
        return frozenset(tag for g in self.groups for row in g.rows for tag in row.evidence)


Figure = Callable[[Entry], Cell | None]


def results(study: Study) -> Table:
    """Accuracy, speed, and footprint of every entry of a run."""
    groups = (
        Group(f"Accuracy ({count(study.summary.compare.n, 'image')})", _accuracy(study)),
        Group(f"Speed ({_conditions(study)})", _speed(study)),
        Group("Footprint", _footprint(study)),
    )
    return Table(
        columns=tuple(e.label for e in study.entries),
        groups=tuple(g for g in groups if g.rows),
        notes=tuple(_notes(study)),
    )


def _rows(study: Study, *figures: tuple[str, Figure]) -> tuple[Row, ...]:
    """The rows in which at least one entry has a figure."""
    rows = []
    for head, figure in figures:
        found = [figure(e) for e in study.entries]
        if any(cell and cell.evidence for cell in found):
            rows.append(Row(head, tuple(cell or Cell() for cell in found)))
    return tuple(rows)


def _accuracy(study: Study) -> tuple[Row, ...]:
    paired = study.summary.compare.evidence
    base = study.summary.compare.base

    def top1(e: Entry) -> Cell | None:
        if e.scores:
            return Cell(number(e.scores.top1, 2), evidence=e.scores.evidence)
        known = e.comparison or (base if e is study.base else None)
        return Cell(number(known.top1, 2), evidence=paired) if known else None

    def top5(e: Entry) -> Cell | None:
        if e.scores:
            return Cell(number(e.scores.top5, 2), evidence=e.scores.evidence)
        known = e.comparison or (base if e is study.base else None)
        return Cell(number(known.top5, 2), evidence=paired) if known else None

    def loss(e: Entry) -> Cell | None:
        return Cell(number(e.scores.loss, 3), "", e.scores.evidence) if e.scores else None

    def paired_cell(e: Entry, figure: Callable[[Comparison], str]) -> Cell | None:
        return Cell(figure(e.comparison), "", paired) if e.comparison else None

    def drop(e: Entry) -> Cell | None:
        if not e.comparison:
            return Cell("base") if e is study.base else None
        d = e.comparison.drop
        return Cell(number(d.points, 2), span(*d.ci95, 2), paired)

    def flips(e: Entry) -> Cell | None:
        return paired_cell(e, lambda c: f"{c.drop.lost:,} / {c.drop.gained:,}")

    def p(e: Entry) -> Cell | None:
        return paired_cell(e, lambda c: p_value(c.drop.p_value))

    def agreement(e: Entry) -> Cell | None:
        return paired_cell(e, lambda c: number(c.agreement, 2))

    def sqnr(e: Entry) -> Cell | None:
        return paired_cell(e, lambda c: decibels(c.sqnr_db))

    return _rows(
        study,
        ("Top-1, %", top1),
        ("Top-5, %", top5),
        ("Loss, nats", loss),
        ("Top-1 drop, points", drop),
        ("Lost / gained, images", flips),
        ("McNemar’s p", p),
        ("Same answer as the base, %", agreement),
        ("SQNR of the logits, dB", sqnr),
    )


def _speed(study: Study) -> tuple[Row, ...]:
    rival = fastest(study.floats)

    def percentile(name: str) -> Figure:
        return lambda e: _timing(e, lambda b: _ms(getattr(b.latency_ms, name)))

    def against(other: Entry | None) -> Figure:
        def figure(e: Entry) -> Cell | None:
            if e is other:
                return Cell("1")
            found = speed(e, other, study) if other else None
            return _factor(found, e.bench.evidence) if found and e.bench else None

        return figure

    def quantized_against(e: Entry) -> Cell | None:
        if rival is study.base or not (e is rival or e.kind == "int8"):
            return None
        return against(rival)(e)

    def samples(e: Entry) -> Cell | None:
        if not _shown(e) or not e.bench:
            return None
        return Cell(f"{e.bench.n:,}", _in_rounds(e.bench), e.bench.evidence)

    return _rows(
        study,
        ("Latency p50, ms", percentile("p50")),
        ("Latency p90, ms", percentile("p90")),
        ("Latency p99, ms", percentile("p99")),
        (f"Speed, {_name(study.base)} = 1", against(study.base)),
        (f"Speed, {_name(rival)} = 1", quantized_against),
        ("Timed inferences", samples),
        ("Load, ms", lambda e: _timing(e, lambda b: _ms(b.load_ms))),
        ("First inference, ms", lambda e: _timing(e, lambda b: _ms(b.first_ms))),
    )


def _ms(value: float | None) -> str:
    return NOTHING if value is None else milliseconds(value)


def _footprint(study: Study) -> tuple[Row, ...]:
    whole = study.base and study.base.artifact

    def size(e: Entry) -> Cell | None:
        if not e.artifact:
            return None
        return Cell(number(mebibytes(e.artifact.size_bytes), 2), "", "host")

    def smaller(e: Entry) -> Cell | None:
        if not e.artifact or not whole or not whole.size_bytes:
            return None
        if e is study.base:
            return Cell("1")
        return Cell(f"{number(e.artifact.size_bytes / whole.size_bytes, 2)}x", "", "host")

    def memory(e: Entry) -> Cell | None:
        if not _shown(e) or not e.bench:
            return None
        return Cell(number(e.bench.peak_rss_mb, 1), "", e.bench.evidence)

    return _rows(
        study,
        ("File, MiB", size),
        (f"File, {_name(study.base)} = 1", smaller),
        ("Peak memory above the empty runtime, MiB", memory),
    )


def _timing(e: Entry, figure: Callable[[BenchResult], str]) -> Cell | None:
    if not e.bench or not _shown(e):
        return None
    return Cell(figure(e.bench), "", e.bench.evidence, struck=not e.bench.valid)


def _factor(found: Speed, evidence: str) -> Cell:
    value, interval = times(found.times, found.low, found.high)
    return Cell(value, interval, evidence, struck=not found.valid)


def _shown(e: Entry) -> bool:
    """A latency that was simulated or emulated is never printed."""
    return e.bench is not None and e.bench.evidence not in UNTIMED


def _in_rounds(bench: BenchResult) -> str:
    return f"in {count(len(bench.rounds), 'round')}" if bench.rounds else ""


def _name(entry: Entry | None) -> str:
    return entry.label if entry else NOTHING


def _conditions(study: Study) -> str:
    """Threads, batch and input size, where all results share them."""
    timings = [e.bench for e in study.entries if e.bench]
    threads = _shared(count(b.threads, "thread") for b in timings)
    batch = _shared(f"batch {b.batch}" for b in timings)
    size = _shared(b.size for b in timings if b.size)
    runtime = _shared(b.runtime for b in timings)
    place = _shared(b.device for b in timings) if study.on_device else ""
    told = filter(None, (place, runtime, threads, batch, size))
    return ", ".join(told) or "nothing was timed"


def _shared(values: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(values))


def _notes(study: Study) -> Iterable[str]:
    if study.away:
        yield (
            f"The files are for {study.away}: what they take on this machine’s CPU counts for "
            "nothing in the verdict."
        )
    for e in study.entries:
        if e.bench and not e.bench.valid and _shown(e):
            why = "; ".join(e.bench.reasons) or "no reason was recorded"
            yield f"The timing of {e.label} is not valid: {why}."
        if e.bench and not _shown(e):
            yield f"The latency of {e.label} is not shown: it was {e.bench.evidence}, not timed."
