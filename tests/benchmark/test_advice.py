from __future__ import annotations

import pytest

from edgenext.benchmark.advice import advice, advice_line
from edgenext.schema import Environment


def machine(*isa: str) -> Environment:
    return Environment(
        cpu="x", isa=isa, cores=2, memory_gb=8, os="Linux", python="3.11", packages={}
    )


@pytest.mark.parametrize(
    ("isa", "name"),
    [
        (("avx2", "avx512f", "avx512_vnni", "amx_int8"), "AMX"),
        (("avx2", "avx512f", "avx512_vnni"), "AVX512-VNNI"),
        (("avx2", "avx_vnni"), "AVX-VNNI"),
        (("avx2",), "AVX2 without VNNI"),
        (("dotprod", "i8mm"), "arm64 with i8mm"),
        (("dotprod",), "arm64 with dotprod"),
        ((), "a CPU whose instructions are not known"),
    ],
)
def test_the_best_instructions_decide(isa: tuple[str, ...], name: str) -> None:
    assert advice(machine(*isa)).name == name


def test_what_was_not_measured_says_so() -> None:
    assert "measured on" in advice_line(machine("avx512_vnni"))
    said = advice_line(machine("avx2"))
    assert "expected, not measured" in said and "saturate" in said
