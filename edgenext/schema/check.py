"""What vendors' compilers say of a file, without a device."""

from __future__ import annotations

from pydantic import Field

from edgenext.schema.base import Evidence, Record


class Placement(Record):
    """Operators that land on one unit, by type."""

    unit: str
    operators: dict[str, int]

    @property
    def total(self) -> int:
        """How many operators it runs."""
        return sum(self.operators.values())


class Refusal(Record):
    """Operators that do not land on the unit that was asked for, and why."""

    operator: str
    count: int
    reason: str
    names: tuple[str, ...] = ()
    """Some of them, by the file's names."""


class CheckReport(Record):
    """`check --json`: whether a vendor accepts a file, where every operator lands and why.

    `accepted` says that the compiler took the file at all, `delegated` that nothing fell back from
    `unit`, None where nobody can tell. `estimates` are the vendor's performance model's and are
    labelled so wherever shown; units are in the names (`inferences_per_second`, `sram_kib` …).
    """

    artifact: str
    sha256: str
    format: str
    scheme: str
    target: str
    unit: str
    """What the target is there for: gpu, npu, cpu, or the CPU's fast kernels, xnnpack."""
    compiler: str
    version: str
    evidence: Evidence = "compiler"
    accepted: bool
    delegated: bool | None
    placements: tuple[Placement, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    errors: tuple[str, ...] = ()
    """The compiler's own words."""
    partitions: int | None = None
    seconds: float = 0.0
    estimates: dict[str, float] = Field(default_factory=dict)
    compiled: str = ""
    """Path of what the compiler wrote, where it was kept."""
    notes: tuple[str, ...] = ()
