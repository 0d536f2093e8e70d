"""A run's measurements joined by artifact: the file, its accuracy and its latency."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Literal

from edgenext.errors import InputError
from edgenext.options import ENGINE
from edgenext.schema import (
    TIMED,
    BenchReport,
    BenchResult,
    Comparison,
    EvalResult,
    ExportResult,
    RunSummary,
)
from edgenext.targets.scheme import FLOAT, SCHEMES
from edgenext.targets.target import TARGETS, Target

PLAIN = "naive"
"""The form of an export that was not folded."""
UNTIMED = ("simulator", "emulated")
"""Evidence that says nothing about latency: such latencies are not shown."""

Kind = Literal["float", "int8", "network"]


@dataclass(frozen=True, eq=False)
class Entry:
    """Everything a run holds about one artifact, or about the network itself.

    `shown_target` is the target where the run has the same kind of file for several, else empty.
    """

    name: str
    label: str
    kind: Kind
    scheme: str
    form: str
    artifact: ExportResult | None
    scores: EvalResult | None
    comparison: Comparison | None
    bench: BenchResult | None
    shown_target: str = ""

    @property
    def timed(self) -> bool:
        """Whether its latency was measured and is valid."""
        return self.bench is not None and self.bench.valid and self.bench.evidence in TIMED

    @property
    def file(self) -> str:
        """Its file's name without the folder."""
        return PurePath(self.artifact.artifact).name if self.artifact else self.name

    @property
    def phrase(self) -> str:
        """Its name in a sentence."""
        if self.kind == "float" and self.form:
            folding = "plain" if self.form == PLAIN else "folded"
            place = f" for {self.shown_target}" if self.shown_target else ""
            return f"the {folding} {self.scheme.upper()} export{place}"
        return self.label


@dataclass(frozen=True)
class Study:
    """A run's entries, the base of its comparisons among them, and the summary they come from.

    `bench` holds the latencies that count: those of a device that the files are for (`target`), if
    they were measured on one, else the run's own.
    """

    entries: tuple[Entry, ...]
    base: Entry | None
    summary: RunSummary
    bench: BenchReport
    target: Target | None

    @property
    def on_device(self) -> bool:
        """Whether the latencies that count are a device's instead of the run's own."""
        return self.bench is not self.summary.bench or self.bench.device is not None

    @property
    def away(self) -> str:
        """The device that the files are for, if no latency was measured on it; else empty."""
        return self.target.place if self.target and not self.on_device else ""

    @property
    def is_sequential(self) -> bool:
        """Whether images were evaluated only until a budget was decided."""
        return any(c.decision for c in self.summary.compare.others)

    @property
    def floats(self) -> tuple[Entry, ...]:
        """Artifacts in floating point."""
        return tuple(e for e in self.entries if e.kind == "float")

    @property
    def int8(self) -> tuple[Entry, ...]:
        """Quantized artifacts."""
        return tuple(e for e in self.entries if e.kind == "int8")


def study_of(summary: RunSummary) -> Study:
    """Join a summary by artifact name; the base comes first.

    Raises:
        InputError: two parts of the summary use one name for different files.
    """
    _check_hashes(summary)
    artifacts = {stem(a.artifact): a for a in summary.artifacts}
    scores = {r.artifact: r for r in summary.eval.results}
    comparisons = {c.artifact: c for c in summary.compare.others}
    artifact = _own_artifact(summary)
    target = TARGETS.get(artifact.target) if artifact else None
    bench = _bench(summary, artifact, target)
    timings = {r.artifact: r for r in bench.results}
    entries = []
    for name in dict.fromkeys((*artifacts, *scores, *comparisons, *timings)):
        artifact, timing = artifacts.get(name), timings.get(name)
        parts = (artifact, timing, scores.get(name), comparisons.get(name))
        scheme = next((part.scheme for part in parts if part and part.scheme), "")
        kind = _kind(scheme, artifact is not None or timing is not None)
        form = next((x.form for x in (artifact, timing) if x and x.form), "")
        entries.append(
            Entry(
                name=name,
                label="PyTorch" if kind == "network" else _label(scheme, form, artifact),
                kind=kind,
                scheme=scheme,
                form=form,
                artifact=artifact,
                scores=scores.get(name),
                comparison=comparisons.get(name),
                bench=timing,
            )
        )
    entries = _with_distinct_labels(entries)
    base = _base(summary.compare.base.artifact, entries)
    entries.sort(key=lambda e: (e is not base, e.kind == "network"))
    return Study(tuple(entries), base, summary, bench, target)


def _with_distinct_labels(entries: list[Entry]) -> list[Entry]:
    """Entries with labels that differ: files of several targets name theirs, else the file."""
    shared = Counter(e.label for e in entries)
    for i, e in enumerate(entries):
        if shared[e.label] > 1 and e.artifact:
            label = f"{e.label}, {e.artifact.target}"
            entries[i] = replace(e, label=label, shown_target=e.artifact.target)
    shared = Counter(e.label for e in entries)
    return [replace(e, label=e.name) if shared[e.label] > 1 else e for e in entries]


def _own_artifact(summary: RunSummary) -> ExportResult | None:
    """This package's own quantized file: the last one before those of the baselines."""
    own = [a for a in summary.artifacts if a.engine in ("", ENGINE)]
    return own[-1] if own else None


def _bench(
    summary: RunSummary, artifact: ExportResult | None, target: Target | None
) -> BenchReport:
    """The latencies that count: of the first device that the artifact is for and was timed on."""
    if summary.bench.device:
        return summary.bench
    hashes = {a.sha256 for a in summary.artifacts}
    for report in summary.devices:
        if not (artifact and target and report.device and report.device.kind == target.device):
            continue
        results = tuple(
            r
            for r in report.results
            if r.sha256 in hashes
            and r.evidence == "device"
            and not (target.place and r.unit == "cpu")
        )
        if any(r.sha256 == artifact.sha256 for r in results):
            return report.model_copy(update={"results": results})
    return summary.bench


def stem(artifact: str) -> str:
    """An artifact's name in results: its file's name without the ending."""
    return PurePath(artifact).stem


def _kind(scheme: str, is_file: bool) -> Kind:
    if not is_file or not scheme:
        return "network"
    return "float" if _is_float(scheme) else "int8"


def _is_float(scheme: str) -> bool:
    """Whether a scheme computes in floating point: FP32, or a cast, whose method has its name."""
    return scheme == FLOAT or (scheme in SCHEMES and SCHEMES[scheme].method == scheme)


def _label(scheme: str, form: str, artifact: ExportResult | None) -> str:
    if not _is_float(scheme):
        engine = artifact.engine if artifact else ""
        return f"{engine} {scheme}" if engine not in ("", ENGINE) else scheme
    return " ".join(filter(None, (scheme.upper(), form and _folded(form))))


def _folded(form: str) -> str:
    return "plain" if form == PLAIN else "folded"


def _base(name: str, entries: list[Entry]) -> Entry | None:
    named = next((e for e in entries if e.name == name), None)
    floats = [e for e in entries if e.kind == "float"]
    plain = next((e for e in floats if e.form == PLAIN), None)
    return named or plain or next(iter(floats), None)


def _check_hashes(summary: RunSummary) -> None:
    """Require one file for each name: an artifact's hash ties its accuracy to its latency."""
    by_name: dict[str, str] = {}
    for name, sha256 in _hashes(summary):
        if sha256 and by_name.setdefault(name, sha256) != sha256:
            raise InputError(
                f"the run has measurements of different files called {name}: sha256 "
                f"{by_name[name][:12]}… and {sha256[:12]}…",
                "Run `edgenext run` again: it repeats the stages whose files have changed",
            )


def _hashes(summary: RunSummary) -> Iterator[tuple[str, str]]:
    yield from ((stem(a.artifact), a.sha256) for a in summary.artifacts)
    yield from ((r.artifact, r.sha256) for r in summary.eval.results)
    yield summary.compare.base.artifact, summary.compare.base.sha256
    yield from ((c.artifact, c.sha256) for c in summary.compare.others)
    yield from ((r.artifact, r.sha256) for r in summary.bench.results)
    for device in summary.devices:
        yield from ((r.artifact, r.sha256) for r in device.results)
