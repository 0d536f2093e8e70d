"""The provenance of a run's figures: network, images, files, machine, command."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

from edgenext.benchmark.environment import isa_label
from edgenext.data.unread import notes
from edgenext.report.study import Study
from edgenext.report.text import (
    count,
    decibels,
    decided_after,
    duration,
    mebibytes,
    number,
    points,
)
from edgenext.schema import BudgetDecision, Environment, ExportResult, SubsetInfo

DOT_PRODUCTS = {"avx_vnni", "avx512_vnni", "amx_int8", "dotprod", "i8mm"}
"""Instruction sets that multiply and add int8 in one step."""


@dataclass(frozen=True)
class Fact:
    """A name and its value; `code` for hashes and commands."""

    name: str
    value: str
    code: bool = False


@dataclass(frozen=True)
class Section:
    """Facts under one heading."""

    title: str
    facts: tuple[Fact, ...]


def provenance(study: Study) -> tuple[Section, ...]:
    """Everything needed to reproduce the run's figures."""
    s = study.summary
    sections = [
        Section("Network", tuple(_network(study))),
        Section("Images", tuple(_images(study))),
        *(
            Section(f"File {e.label}", tuple(_file(e.artifact)))
            for e in study.entries
            if e.artifact
        ),
    ]
    if s.bench.environment:
        sections.append(Section("Machine", tuple(_machine(s.bench.environment))))
    sections.append(Section("Run", tuple(_run(study))))
    return tuple(section for section in sections if section.facts)


def lacks_dot_product(env: Environment | None) -> bool:
    """Whether the CPU is known to have no int8 dot product, which decides the speed of INT8."""
    return bool(env and env.isa and DOT_PRODUCTS.isdisjoint(env.isa))


def _subset(info: SubsetInfo, decision: BudgetDecision | None = None) -> str:
    """Such as `val of data.zip, 500 of 5,000 images: a subset stratified by class (seed 0)`."""
    source = f"{info.split} of {info.data}" if info.split else info.data
    if decision:
        drawn = f"{info.n:,} of {count(decision.available, 'image')} in a random order"
        until = f"until a budget of {points(decision.budget)} was decided"
        return f"{source}, {drawn} (seed {decision.seed}), {until}"
    if info.n < info.n_total:
        drawn = f"{info.n:,} of {info.n_total:,} images: a subset stratified by class"
        return f"{source}, {drawn} (seed {info.seed})"
    return f"{source}, all {count(info.n, 'image')}"


def _network(study: Study) -> Iterator[Fact]:
    s = study.summary
    yield Fact("Model", s.model)
    yield Fact("Architecture", f"{s.arch}, {count(s.params, 'parameter')}")
    yield Fact("Weights", s.weights)
    if s.weights_sha256:
        yield Fact("Weights sha256", s.weights_sha256, code=True)
    if s.trained:
        trained = ", ".join(
            f"{name} {number(v, 0 if v == round(v) else 2)}" for name, v in s.trained.items()
        )
        yield Fact("Trained in this run", trained)


def _images(study: Study) -> Iterator[Fact]:
    s = study.summary
    data = s.compare.data or next((r.data for r in s.eval.results if r.data), None)
    if data:
        first = next((c.decision for c in s.compare.others if c.decision), None)
        yield from _set("Evaluation", data, first)
        if first:
            yield Fact("Evaluation order sha256", first.order_sha256, code=True)
            yield Fact(
                "Interval of the drops",
                f"a confidence sequence, looked at after every {count(first.shard, 'image')}: "
                + "; ".join(_decided(study)),
            )
    if s.calibration:
        yield from _set("Calibration", s.calibration)
        if data and data.sha256 == s.calibration.sha256:
            yield Fact("Disjoint", "no: INT8 was calibrated on the images it is evaluated on")
        elif data:
            yield Fact(
                "Disjoint",
                "yes: the two sets share no image; a run compares the content hashes of all images "
                "and stops if two are equal",
            )


def _decided(study: Study) -> Iterator[str]:
    """After how many images each file's drop was decided."""
    for entry in study.entries:
        if entry.comparison and entry.comparison.decision:
            decision = entry.comparison.decision
            yield f"{entry.label} {decision.outcome}{decided_after(decision)}"


def _set(name: str, info: SubsetInfo, decision: BudgetDecision | None = None) -> Iterator[Fact]:
    yield Fact(name, _subset(info, decision))
    yield Fact(f"{name} sha256", info.sha256, code=True)
    if info.corrupt:
        bad = ", ".join(info.corrupt)
        yield Fact(
            f"{name}, left out",
            f"{count(len(info.corrupt), 'image')} that could not be decoded: {bad}",
        )
    for note in notes(info):
        yield Fact(f"{name}, note", note)


def _file(file: ExportResult) -> Iterator[Fact]:
    yield Fact(
        "File", f"{PurePath(file.artifact).name}, {number(mebibytes(file.size_bytes), 2)} MiB"
    )
    yield Fact("sha256", file.sha256, code=True)
    form = f", form {file.form}" if file.form else ""
    yield Fact("Scheme", f"{file.scheme} for {file.target}{form}, {file.format}")
    if file.manifest:
        yield Fact("Recipe and tools", f"in the manifest {PurePath(file.manifest).name}")
    for p in (file.parity, file.conversion_parity):
        if p:
            yield Fact(
                f"Against {p.against}",
                f"{count(p.n, 'image')}: largest logit difference {p.max_abs:.2g}, SQNR "
                f"{decibels(p.sqnr_db)} dB, same answer {number(p.agreement or 0.0, 2)} %",
            )


def _machine(env: Environment) -> Iterator[Fact]:
    yield Fact("CPU", f"{env.cpu}, {count(env.cores, 'logical core')}")
    sets = f"{isa_label(env)} ({', '.join(env.isa)})" if env.isa else "not known"
    yield Fact("Instruction sets", sets)
    yield Fact("Memory", f"{number(env.memory_gb, 1)} GiB")
    yield Fact("System", f"{env.os}, Python {env.python}")
    if env.packages:
        yield Fact("Packages", ", ".join(f"{k} {v}" for k, v in sorted(env.packages.items())))


def _run(study: Study) -> Iterator[Fact]:
    s = study.summary
    if s.command:
        yield Fact("Command", s.command, code=True)
    if s.seconds:
        stages = ", ".join(f"{name} {duration(t)}" for name, t in s.seconds.items())
        yield Fact("Stages", f"{stages}; {duration(sum(s.seconds.values()))} in total")
