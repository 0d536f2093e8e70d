"""What INT8 is expected to bring on a CPU, before anything is measured there."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from edgenext.options import DEFAULT_TARGET
from edgenext.schema import Advice, Environment, Record
from edgenext.system.packaged import packaged_toml

CONDITIONS = "onnxruntime, one thread, batch 1, 256 px"
"""What every figure of `advice.toml` is about."""

BF16 = frozenset({"avx512_bf16", "amx_bf16"})
"""Instruction sets that multiply bfloat16 faster than float32."""

Range = tuple[float, ...]
"""The lowest and the highest speed; the lowest alone where no highest is known."""


class Row(Record):
    """A row of `advice.toml`, which says what the fields mean."""

    has: tuple[str, ...]
    system: tuple[str, ...] = ()
    isa: str
    xx_small: Range = Field((), max_length=2)
    small: Range = Field((), max_length=2)
    measured: str = ""
    reason: str
    recommendation: str


def expectation(env: Environment, schemes: Sequence[str] = (), arch: str = "") -> Advice:
    """What to expect of INT8 on a machine: the best of its instruction sets decides.

    Args:
        env: the machine.
        schemes: what the target can run; without them nothing is said of bf16, which is a rival
            of INT8 where the CPU multiplies it.
        arch: of the network; without one the speed is said of XXS and of S.
    """
    row = next(r for r in _rows() if _fits(r, env))
    low, high = _speed(row, arch)
    return Advice(
        isa=row.isa,
        speed=_said(row, arch),
        low=low,
        high=high,
        measured=row.measured,
        reason=row.reason,
        recommendation="; ".join(filter(None, (row.recommendation, bf16_too(env, schemes)))),
    )


def advice_line(env: Environment, target: str = DEFAULT_TARGET) -> str:
    """The expectation for a target on this machine, as one sentence."""
    from edgenext.targets.target import schemes

    if not target.startswith("cpu-"):
        return f"how fast INT8 is on {target} has to be measured there: this CPU says nothing of it"
    found = expectation(env, schemes(target))
    return (
        f"INT8 on {found.isa}: {found.speed} the speed of plain FP32 ({basis(found)}), since "
        f"{found.reason}. Advice: {found.recommendation}; `edgenext bench` says what holds here"
    )


def bf16_too(env: Environment, schemes: Sequence[str]) -> str:
    """What to bench beside INT8 where the CPU multiplies bfloat16; else nothing."""
    if not schemes or BF16.isdisjoint(env.isa):
        return ""
    how = "--scheme bf16" if "bf16" in schemes else "--target cpu-openvino --scheme bf16"
    return f"bench `{how}` beside it, since the CPU multiplies bfloat16 too"


def basis(advice: Advice) -> str:
    """What stands behind the speed: measured, with where, or only expected."""
    return f"measured {advice.measured}" if advice.measured else "expected, not measured"


def _rows() -> list[Row]:
    table = packaged_toml("edgenext.benchmark", "advice.toml")
    return [Row.model_validate(row) for row in table["row"]]


def _fits(row: Row, env: Environment) -> bool:
    return set(row.has) <= set(env.isa) and all(word in env.os for word in row.system)


def _speed(row: Row, arch: str) -> tuple[float | None, float | None]:
    """The lowest and the highest speed of a network; those of all between XXS and S without one."""
    if not row.xx_small or not row.small:
        return None, None
    slow = row.small if arch.startswith(("edgenext_small", "edgenext_base")) else row.xx_small
    fast = row.xx_small if arch.startswith("edgenext_xx_small") else row.small
    # a network larger than those measured gains no less than they do
    unbounded = len(fast) == 1 or arch.startswith("edgenext_base")
    return slow[0], None if unbounded else fast[1]


def _said(row: Row, arch: str) -> str:
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
