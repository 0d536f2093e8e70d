"""The table of results: a column for each artifact, a row for each figure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from edgenext.report.conditions import noise_sentence
from edgenext.report.evidence import EVIDENCE
from edgenext.report.speed import Speed, fastest, speed
from edgenext.report.study import UNTIMED, Entry, Study
from edgenext.report.text import (
    NOTHING,
    count,
    decibels,
    enumerated,
    mebibytes,
    milliseconds,
    number,
    p_value,
    reasons_once,
    span,
    times,
)
from edgenext.schema import Accuracy, BenchResult, Comparison, EvalResult


@dataclass(frozen=True)
class Cell:
    """A figure, its interval or count, its evidence, and whether it is struck out."""

    text: str = NOTHING
    note: str = ""
    evidence: str = ""
    struck: bool = False


@dataclass(frozen=True)
class FigureRow:
    """One figure of every artifact."""

    head: str
    cells: tuple[Cell, ...]
    is_first: bool = False

    @property
    def evidence(self) -> tuple[str, ...]:
        """The evidence labels of the figures, each once."""
        return tuple(dict.fromkeys(c.evidence for c in self.cells if c.evidence))


@dataclass(frozen=True)
class RowGroup:
    """Rows under one heading."""

    title: str
    rows: tuple[FigureRow, ...]


@dataclass(frozen=True)
class ResultTable:
    """Groups of rows; `columns` are the artifacts' labels, `notes` are shown underneath."""

    columns: tuple[str, ...]
    groups: tuple[RowGroup, ...]
    notes: tuple[str, ...]

    @property
    def evidence(self) -> frozenset[str]:
        """All evidence labels that occur."""
        return frozenset(tag for g in self.groups for row in g.rows for tag in row.evidence)

    @property
    def is_mixed(self) -> bool:
        """Whether the evidence differs from figure to figure, so that each has to say it."""
        return len(self.evidence) > 1


@dataclass(frozen=True)
class CellTable:
    """Rows under `columns`, the first cell of each a name, and notes underneath."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()


CellOf = Callable[[Entry], Cell | None]
"""The cell of an artifact in a row; None if it has no such figure."""

Figure = tuple[str, CellOf, bool]
"""A row: its head, its cells, and whether it is one of those that decide."""

FEW_CLASSES = 5
"""With so many classes or fewer, the top five hold the right one always."""

Scores = EvalResult | Comparison | Accuracy
"""What holds a top-1 and a top-5."""


def result_table(study: Study) -> ResultTable:
    """Accuracy, speed, and footprint of every entry of a run."""
    groups = (
        RowGroup(f"Accuracy ({count(study.summary.compare.n, 'image')})", _accuracy(study)),
        RowGroup(f"Speed ({_conditions(study)})", _speed(study)),
        RowGroup("Footprint", _footprint(study)),
    )
    table = ResultTable(
        columns=tuple(e.label for e in study.entries),
        groups=tuple(g for g in groups if g.rows),
        notes=tuple(_notes(study)),
    )
    if len(table.evidence) == 1:
        (evidence,) = table.evidence
        note = f"Evidence of every figure: {evidence}, {EVIDENCE[evidence]}."
        return replace(table, notes=(*table.notes, note))
    return table


def short_table(table: ResultTable) -> ResultTable:
    """The six figures that decide: accuracy, speed and size, in one group without notes."""
    rows = [row for group in table.groups for row in group.rows if row.is_first]
    return ResultTable(table.columns, (RowGroup("", tuple(rows)),), ())


def _rows(study: Study, *figures: Figure) -> tuple[FigureRow, ...]:
    """The rows in which at least one entry has a figure."""
    rows = []
    for head, cell_of, is_first in figures:
        cells = [cell_of(e) for e in study.entries]
        if any(cell and cell.evidence for cell in cells):
            rows.append(FigureRow(head, tuple(cell or Cell() for cell in cells), is_first))
    return tuple(rows)


def _accuracy(study: Study) -> tuple[FigureRow, ...]:
    paired = study.summary.compare.evidence
    base = study.summary.compare.base

    def top_k(e: Entry, figure: Callable[[Scores], float]) -> Cell | None:
        if e.scores:
            return Cell(number(figure(e.scores), 2), evidence=e.scores.evidence)
        scores = e.comparison or (base if e is study.base else None)
        return Cell(number(figure(scores), 2), evidence=paired) if scores else None

    def top1(e: Entry) -> Cell | None:
        return top_k(e, lambda scores: scores.top1)

    def top5(e: Entry) -> Cell | None:
        classes = study.summary.num_classes
        if classes is not None and classes <= FEW_CLASSES:
            return None
        return top_k(e, lambda scores: scores.top5)

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

    def divergence(e: Entry) -> Cell | None:
        return paired_cell(e, lambda c: f"{c.kl:.2g}")

    return _rows(
        study,
        ("Top-1, %", top1, True),
        ("Top-5, %", top5, False),
        ("Loss, nats", loss, False),
        ("Top-1 drop, points", drop, True),
        ("Lost / gained, images", flips, False),
        ("p of the sequence" if study.is_sequential else "McNemar’s p", p, False),
        ("Same answer as the base, %", agreement, True),
        ("SQNR of the logits, dB", sqnr, False),
        ("KL divergence from the base, nats", divergence, False),
    )


def _speed(study: Study) -> tuple[FigureRow, ...]:
    fastest_float = fastest(study.floats)

    def percentile(name: str) -> CellOf:
        return lambda e: _timing(e, lambda b: _ms(getattr(b.latency_ms, name)))

    def relative_to(other: Entry | None) -> CellOf:
        def cell(e: Entry) -> Cell | None:
            if e is other:
                return Cell("1")
            measured = speed(e, other, study) if other else None
            return _factor(measured, e.bench.evidence) if measured and e.bench else None

        return cell

    def relative_to_fastest(e: Entry) -> Cell | None:
        if fastest_float is study.base or not (e is fastest_float or e.kind == "int8"):
            return None
        return relative_to(fastest_float)(e)

    def samples(e: Entry) -> Cell | None:
        if not _shown(e) or not e.bench:
            return None
        return Cell(f"{e.bench.n:,}", _in_rounds(e.bench), e.bench.evidence)

    return _rows(
        study,
        ("Latency p50, ms", percentile("p50"), True),
        ("Latency p90, ms", percentile("p90"), False),
        ("Latency p99, ms", percentile("p99"), False),
        (f"Speed, {_name(study.base)} = 1", relative_to(study.base), True),
        (f"Speed, {_name(fastest_float)} = 1", relative_to_fastest, False),
        ("Timed inferences", samples, False),
        ("Load, ms", lambda e: _timing(e, lambda b: _ms(b.load_ms)), False),
        ("First inference, ms", lambda e: _timing(e, lambda b: _ms(b.first_ms)), False),
    )


def _ms(value: float | None) -> str:
    return NOTHING if value is None else milliseconds(value)


def _footprint(study: Study) -> tuple[FigureRow, ...]:
    base = study.base and study.base.artifact

    def size(e: Entry) -> Cell | None:
        if not e.artifact:
            return None
        return Cell(number(mebibytes(e.artifact.size_bytes), 2), "", "host")

    def relative_size(e: Entry) -> Cell | None:
        if not e.artifact or not base or not base.size_bytes:
            return None
        if e is study.base:
            return Cell("1")
        return Cell(f"{number(e.artifact.size_bytes / base.size_bytes, 2)}x", "", "host")

    def memory(e: Entry) -> Cell | None:
        if not _shown(e) or not e.bench:
            return None
        return Cell(number(e.bench.peak_rss_mb, 1), "", e.bench.evidence)

    return _rows(
        study,
        ("File, MiB", size, True),
        (f"File, {_name(study.base)} = 1", relative_size, False),
        ("Peak memory above the empty runtime, MiB", memory, False),
    )


def _timing(e: Entry, figure: Callable[[BenchResult], str]) -> Cell | None:
    if not e.bench or not _shown(e):
        return None
    return Cell(figure(e.bench), "", e.bench.evidence, struck=not e.bench.valid)


def _factor(measured: Speed, evidence: str) -> Cell:
    value, interval = times(measured.times, measured.low, measured.high)
    return Cell(value, interval, evidence, struck=not measured.valid)


def _shown(e: Entry) -> bool:
    """Whether a latency is shown: never if it was simulated or emulated."""
    return e.bench is not None and e.bench.evidence not in UNTIMED


def _in_rounds(bench: BenchResult) -> str:
    return f"in {count(len(bench.rounds), 'round')}" if bench.rounds else ""


def _name(entry: Entry | None) -> str:
    return entry.label if entry else NOTHING


def _conditions(study: Study) -> str:
    """Device, runtime, threads, batch and input size of the timed files."""
    timings = [e.bench for e in study.entries if e.bench]
    threads = _shared(count(b.threads, "thread") for b in timings)
    batch = _shared(f"batch {b.batch}" for b in timings)
    size = _shared(b.size for b in timings if b.size)
    runtime = _shared(b.runtime for b in timings)
    place = _shared(b.device for b in timings) if study.on_device else ""
    conditions = filter(None, (place, runtime, threads, batch, size))
    return ", ".join(conditions) or "nothing was timed"


def _shared(values: Iterable[str]) -> str:
    return " or ".join(dict.fromkeys(values))


def _notes(study: Study) -> Iterable[str]:
    if study.away:
        yield (
            f"The files are for {study.away}: the verdict does not use their latency on this "
            "machine’s CPU."
        )
    if any(e.timed for e in study.entries) and len(study.bench.results) > 1:
        yield (
            f"Noise floor: {noise_sentence(study)}. The intervals of speeds include it; a speed "
            "whose interval includes 1 is no measurable difference."
        )
    yield from _invalid_timings(study)
    for e in study.entries:
        if e.scores and e.scores.fallback:
            yield f"The accuracy of {e.label} is not that of its scheme: {e.scores.fallback}."
        if e.bench and not _shown(e):
            yield f"The latency of {e.label} is not shown: its evidence is {e.bench.evidence}."


def _invalid_timings(study: Study) -> Iterable[str]:
    """Each reason once, with all files that it is about."""
    invalid = (
        (e.label, e.bench.reasons or ("no reason was recorded",))
        for e in study.entries
        if e.bench and not e.bench.valid and _shown(e)
    )
    for names, reason in reasons_once(invalid):
        subject = "The timing of" if len(names) == 1 else "The timings of"
        verb = "is" if len(names) == 1 else "are"
        yield f"{subject} {enumerated(names)} {verb} not valid: {reason}."
