"""What the workers of a sweep must have in common: versions, and the arithmetic of their CPUs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from edgenext.benchmark.environment import arithmetic, environment
from edgenext.errors import SchedulerError
from edgenext.schema import Environment, Record
from edgenext.system.jobs.job import COMPUTE, WorkerAnswer, WorkerTerms
from edgenext.system.versions import all_versions

HERE = __name__
FACTS = f"{HERE}:facts"
"""The function of a worker's facts, by name."""
QUIET_CORE = "quiet-core"
"""The lease of a machine whose CPU is timed."""


class WorkerFacts(Record):
    """What decides the results of a worker, besides its inputs.

    `package` is the digest of this package's files, `arithmetic` its machine as far as sums depend
    on it, `machine` all that timings depend on.
    """

    package: str
    versions: dict[str, str]
    arithmetic: Environment
    machine: Environment


def facts() -> dict[str, Any]:
    """The facts of this process, as JSON."""
    return _facts().model_dump(mode="json")


def differences(expected: Mapping[str, Any], lease: str) -> str:
    """What differs here from the facts expected of a worker; empty if nothing that matters does."""
    own, other = _facts(), WorkerFacts.model_validate(expected)
    if text := _other_software(own, other):
        return text
    if not lease and own.arithmetic != other.arithmetic:
        return f"has another CPU or system: {_cpu(own)}, not {_cpu(other)}"
    return ""


def agreed(answers: Sequence[WorkerAnswer], folders: tuple[str, ...]) -> WorkerTerms:
    """The terms for workers that have the versions of this process and equal arithmetic.

    Args:
        answers: of `facts`, on all workers.
        folders: see `WorkerTerms`.

    Raises:
        SchedulerError: they differ in what decides results.
    """
    here = _facts()
    by_worker = {a.worker: WorkerFacts.model_validate(a.answer) for a in answers}
    for worker, other in by_worker.items():
        if text := _other_software(other, here):
            raise SchedulerError(
                f"the worker {worker} {text}", "Install the same there, or stop this worker"
            )
    computing = [a.worker for a in answers if COMPUTE in a.leases] or [*by_worker]
    first = by_worker[computing[0]]
    for worker in computing:
        if by_worker[worker].arithmetic != first.arithmetic:
            raise SchedulerError(
                f"workers have different CPUs, on which sums differ: {_cpu(first)} "
                f"({computing[0]}) and {_cpu(by_worker[worker])} ({worker})",
                f'Start those that are to compute with --resources "{COMPUTE}=1", all of one kind',
            )
    return WorkerTerms(f"{HERE}:differences", first.model_dump(mode="json"), folders)


def arithmetic_of(terms: WorkerTerms) -> Environment:
    """The machine that evaluates, as far as sums depend on it."""
    return WorkerFacts.model_validate(terms.expected).arithmetic


def timing_machine(answers: Sequence[WorkerAnswer]) -> Environment:
    """The machine that CPUs are timed on.

    Raises:
        SchedulerError: workers with the lease of a quiet core are different machines.
    """
    holders = [a for a in answers if QUIET_CORE in a.leases]
    machines = {a.worker: WorkerFacts.model_validate(a.answer).machine for a in holders}
    (first, machine), *others = machines.items()
    for worker, other in others:
        if other != machine:
            raise SchedulerError(
                f"{QUIET_CORE} is on different machines: {machine.cpu} ({first}) and {other.cpu} "
                f"({worker}), whose latencies cannot be compared",
                "Let one of them have it",
            )
    return machine


@cache
def _facts() -> WorkerFacts:
    return WorkerFacts(
        package=_package_digest(),
        versions=all_versions(),
        arithmetic=arithmetic(),
        machine=environment(),
    )


def _package_digest() -> str:
    """The hex sha256 of the names and bytes of all source files of this package."""
    root = Path(str(resources.files("edgenext")))
    files = sorted(p for p in root.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    digest = hashlib.sha256()
    for file in files:
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(root).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def _other_software(own: WorkerFacts, other: WorkerFacts) -> str:
    """The first difference of a worker's software from what it should be; empty without one."""
    names = sorted({*own.versions, *other.versions}, key=lambda name: (name != "edgenext", name))
    for name in names:
        has, should = own.versions.get(name), other.versions.get(name)
        if has != should:
            return f"has {name} {has or 'not installed'}, and {should or 'none'} is needed"
    if own.package != other.package:
        return f"has other source files of edgenext {own.versions.get('edgenext', '')}"
    return ""


def _cpu(facts: WorkerFacts) -> str:
    machine = facts.arithmetic
    return f"{machine.cpu} with {', '.join(machine.isa) or 'unknown instructions'}"
