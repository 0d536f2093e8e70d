"""What /proc/cpuinfo tells of the CPU's instructions."""

from __future__ import annotations

import pytest

from edgenext.system.cpu import cpu_flags, cpuinfo_fields, multiplies_bf16

XEON = "model name : Intel(R) Xeon(R)\nflags : avx2 avx512f avx512bw avx512vl avx512_vnni\n"


@pytest.mark.parametrize(
    ("text", "bf16"),
    [
        (XEON, False),
        ("flags : avx avx2\n", False),
        (XEON.replace("avx512_vnni", "avx512_vnni avx512_bf16"), True),
        ("flags\t\t: avx2 amx_tile amx_bf16\n", True),
        ("Features : fp asimd asimddp sve i8mm bf16\n", True),
        ("Features : fp asimd asimddp\n", False),
        ("", None),
        ("model name : of another system\n", None),
    ],
)
def test_bf16_is_known_from_the_flags(text: str, bf16: bool | None) -> None:
    assert multiplies_bf16(text) is bf16


def test_the_first_core_speaks_for_all() -> None:
    text = "processor : 0\nflags : a b\nprocessor : 1\nflags : c\n"
    assert cpuinfo_fields(text)["processor"] == "0"
    assert cpu_flags(text) == {"a", "b"}
