"""Reports of vendors' compilers on a file, without a device."""

from __future__ import annotations

from pydantic import Field

from edgenext.schema.base import Evidence, Record


class Placement(Record):
    """Operators that are placed on one unit, by type."""

    unit: str
    operators: dict[str, int]

    @property
    def total(self) -> int:
        """How many operators the unit runs."""
        return sum(self.operators.values())


class Refusal(Record):
    """Operators that are not placed on the requested unit, and why."""

    operator: str
    count: int
    reason: str
    names: tuple[str, ...] = ()
    """Names of some of them in the file."""


class CheckReport(Record):
    """`check --json`: whether a vendor's compiler accepts a file, and where operators are placed.

    `accepted` is whether the compiler takes the file at all, `delegated` whether every operator
    runs on `unit`, None if unknown. Operators that are not on `unit` run in the kernels named by
    `beside`, on the same processor; where that is empty, another processor runs them or none.
    `estimates` come from the vendor's performance model and are labelled so wherever they are
    shown; units are in the names (`inferences_per_second`, `sram_kib` …).
    """

    artifact: str
    sha256: str
    format: str
    scheme: str
    target: str
    unit: str
    """The target's compute unit: gpu, npu, cpu, or xnnpack, the CPU's fast kernels."""
    compiler: str
    version: str
    evidence: Evidence = "compiler"
    accepted: bool
    delegated: bool | None
    beside: str = ""
    placements: tuple[Placement, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    errors: tuple[str, ...] = ()
    """The compiler's messages, unchanged."""
    partitions: int | None = None
    seconds: float = 0.0
    estimates: dict[str, float] = Field(default_factory=dict)
    compiled: str = ""
    """Path of the compiled file, if it was kept."""
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the target's processor is not known to leave a part of the file to another."""
        return self.accepted and (self.delegated is not False or bool(self.beside))

    @property
    def others(self) -> int:
        """How many operators are known not to run on `unit`."""
        return sum(refusal.count for refusal in self.refusals)
