"""What INT8 is expected to bring on a CPU, before anything is measured there."""

from __future__ import annotations

import tomllib
from importlib import resources

from edgenext.schema import Environment, Record


class Advice(Record):
    """What INT8 is expected to bring on CPUs that have these instructions (`has`)."""

    has: tuple[str, ...]
    name: str
    speed: str
    why: str
    measured: str = ""


def advice(env: Environment) -> Advice:
    """The expectation for a machine, from `advice.toml`: the best of its instructions decides."""
    text = resources.files("edgenext.benchmark").joinpath("advice.toml").read_text("utf-8")
    rows = [Advice.model_validate(row) for row in tomllib.loads(text)["row"]]
    return next(row for row in rows if set(row.has) <= set(env.isa))


def advice_line(env: Environment) -> str:
    """The expectation as one sentence."""
    found = advice(env)
    how = f"measured {found.measured}" if found.measured else "expected, not measured"
    return (
        f"INT8 on {found.name}: {found.speed} the speed of plain FP32 ({how}), for {found.why}. "
        "`edgenext bench` says what holds here"
    )
