"""The speed to expect of INT8 on a CPU, before anything is measured on it."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from edgenext.benchmark.measured_here import measured_speeds
from edgenext.options import DEFAULT_TARGET
from edgenext.schema import Advice, Environment, Record
from edgenext.system.packaged import packaged_toml

CONDITIONS = "onnxruntime, one thread, batch 1, 256 px"
"""The conditions of every figure in `advice.toml`."""

BF16 = frozenset({"avx512_bf16", "amx_bf16"})
"""Instruction sets that multiply bfloat16 faster than float32."""

SCHEME = "w8a8-static"
"""The scheme that the advice is about."""
SHOWN = 2
"""Speeds measured on this machine that are named, the newest."""

SpeedRange = tuple[float, ...]
"""The lowest and the highest speed; only the lowest where no highest is known."""


class AdviceRow(Record):
    """A row of `advice.toml`; the fields are described there."""

    has: tuple[str, ...]
    system: tuple[str, ...] = ()
    isa: str
    xx_small: SpeedRange = Field((), max_length=2)
    small: SpeedRange = Field((), max_length=2)
    measured: str = ""
    reason: str
    recommendation: str


def expectation(env: Environment, schemes: Sequence[str] = (), arch: str = "") -> Advice:
    """The speed to expect of INT8 on a machine, from the best of its instruction sets.

    Args:
        env: the machine.
        schemes: those that the target can run. With them, bf16 is recommended beside INT8 where
            the CPU multiplies bfloat16.
        arch: the network's architecture; without one, `speed` is given for XXS and for S.
    """
    row = next(r for r in _rows() if _matches(r, env))
    low, high = _speed(row, arch)
    recommendations = (row.recommendation, bf16_recommendation(env, schemes))
    return Advice(
        isa=row.isa,
        speed=_speed_text(row, arch),
        low=low,
        high=high,
        measured=row.measured,
        reason=row.reason,
        recommendation="; ".join(filter(None, recommendations)),
    )


def advice_line(env: Environment, target: str = DEFAULT_TARGET) -> str:
    """The expectation for a target on a machine, as one sentence."""
    from edgenext.targets.target import schemes

    if not target.startswith("cpu-"):
        return f"the speed of INT8 on {target} must be measured there: this CPU does not predict it"
    advice = expectation(env, schemes(target))
    here = _here(env, target)
    return (
        f"INT8 on {advice.isa}: {advice.speed} the speed of plain FP32 ({basis(advice)}), since "
        f"{advice.reason}. Advice: {advice.recommendation}; "
        f"{here or 'measure it with `edgenext bench`'}"
    )


def _here(env: Environment, target: str) -> str:
    """What was measured of INT8 on this machine, newest first; empty if nothing was."""
    rows = [row for row in measured_speeds(env) if (row.target, row.scheme) == (target, SCHEME)]
    rows.sort(key=lambda row: row.date, reverse=True)
    parts = [
        f"{row.speed:.2f}x ({row.ci95[0]:.2f} to {row.ci95[1]:.2f}) for {row.arch} at {row.size} "
        f"with {row.threads} thread{'s' if row.threads > 1 else ''}, {row.date}"
        for row in rows[:SHOWN]
    ]
    return f"measured on this machine: {'; '.join(parts)}" if parts else ""


def bf16_recommendation(env: Environment, schemes: Sequence[str]) -> str:
    """What to bench beside INT8 where the CPU multiplies bfloat16; empty elsewhere."""
    if not schemes or BF16.isdisjoint(env.isa):
        return ""
    options = "--scheme bf16" if "bf16" in schemes else "--target cpu-openvino --scheme bf16"
    return f"bench `{options}` beside it, since the CPU multiplies bfloat16 too"


def basis(advice: Advice) -> str:
    """Where the speed comes from: measured on which machines, or only expected."""
    return f"measured {advice.measured}" if advice.measured else "expected, not measured"


def _rows() -> list[AdviceRow]:
    table = packaged_toml("edgenext.benchmark", "advice.toml")
    return [AdviceRow.model_validate(row) for row in table["row"]]


def _matches(row: AdviceRow, env: Environment) -> bool:
    return set(row.has) <= set(env.isa) and all(word in env.os for word in row.system)


def _speed(row: AdviceRow, arch: str) -> tuple[float | None, float | None]:
    """The lowest and the highest speed of a network; without one, of all from XXS to S."""
    if not row.xx_small or not row.small:
        return None, None
    slow = row.small if arch.startswith(("edgenext_small", "edgenext_base")) else row.xx_small
    fast = row.xx_small if arch.startswith("edgenext_xx_small") else row.small
    # a network larger than those measured gains at least as much
    unbounded = len(fast) == 1 or arch.startswith("edgenext_base")
    return slow[0], None if unbounded else fast[1]


def _speed_text(row: AdviceRow, arch: str) -> str:
    if not row.xx_small or not row.small:
        return "perhaps no more than"
    if arch:
        return _between(*_speed(row, arch))
    return f"{_between(*_speed(row, 'edgenext_xx_small'))} (XXS) and " + (
        f"{_between(*_speed(row, 'edgenext_small'))} (S)"
    )


def _between(low: float | None, high: float | None) -> str:
    if high is None:
        return f"{low:g}x or more"
    return f"{low:g}x" if low == high else f"{low:g}x to {high:g}x"
