"""What this machine is, and what of this package works on it."""

from __future__ import annotations

from typing import Literal

from edgenext.schema.base import Record
from edgenext.schema.latency import Environment

Part = Literal["format", "runtime", "device"]
"""What makes a format's files, what runs them here, and what reaches devices."""


class Readiness(Record):
    """Whether one part works here; if not, why, and the command that brings it."""

    part: Part
    name: str
    about: str
    ready: bool
    problem: str = ""
    command: str = ""


class Gain(Record):
    """What INT8 gained on CPUs with an instruction set, and on which CPU that was measured."""

    instructions: str
    gain: str


class DoctorReport(Record):
    """The machine, what INT8 gained on CPUs like it, and the state of every part.

    `usable_cores` are those that this process may run on; `virtual` whether a hypervisor runs the
    machine, None where that is not known.
    """

    machine: Environment
    label: str
    usable_cores: int
    virtual: bool | None
    gain: Gain | None
    parts: tuple[Readiness, ...]
    devices: tuple[str, ...] = ()
