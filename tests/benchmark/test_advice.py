from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgenext.benchmark.advice import advice_line, expectation
from edgenext.benchmark.environment import environment
from edgenext.schema import Advice, Environment
from edgenext.targets.target import schemes

VNNI = ("avx2", "avx512f", "avx512_vnni")
LINUX, ARM, MAC = "Linux-6.1-x86_64-glibc2.36", "Linux-6.1-aarch64-glibc2.36", "macOS-15.1-arm64"
RESULTS = Path(__file__).parents[2] / "results"


def machine(*isa: str, system: str = LINUX) -> Environment:
    return Environment(
        cpu="x", isa=isa, cores=2, memory_gb=8, os=system, python="3.11", packages={}
    )


@pytest.mark.parametrize(
    ("isa", "system", "name"),
    [
        ((*VNNI, "avx512_bf16", "amx_bf16", "amx_int8"), LINUX, "AMX"),
        (VNNI, LINUX, "AVX512-VNNI"),
        (("avx2", "avx_vnni"), LINUX, "AVX-VNNI"),
        (("avx2", "avx512f"), LINUX, "AVX2 without VNNI"),
        (("dotprod", "sve", "i8mm"), ARM, "arm64 with i8mm"),
        (("dotprod",), ARM, "arm64 with dotprod"),
        ((), ARM, "arm64 without dotprod"),
        ((), MAC, "Apple silicon"),
        ((), LINUX, "a CPU whose instructions are not known"),
        ((), "Windows-11", "a CPU whose instructions are not known"),
    ],
)
def test_the_best_instructions_decide(isa: tuple[str, ...], system: str, name: str) -> None:
    advice = expectation(machine(*isa, system=system))
    assert advice.isa == name
    assert advice.reason and advice.recommendation
    assert Advice.model_validate_json(advice.model_dump_json()) == advice


def test_the_network_narrows_the_range() -> None:
    def ends(arch: str) -> tuple[float | None, float | None]:
        advice = expectation(machine(*VNNI), arch=arch)
        return advice.low, advice.high

    assert ends("edgenext_xx_small") == ends("edgenext_xx_small_bn_hs") == (1.6, 2.1)
    assert ends("edgenext_small") == ends("edgenext_small_bn_hs") == (2.2, 2.7)
    assert ends("edgenext_x_small") == ends("") == (1.6, 2.7)
    assert ends("edgenext_base") == (2.2, None)
    assert expectation(machine(*VNNI)).speed == "1.6x to 2.1x (XXS) and 2.2x to 2.7x (S)"
    assert expectation(machine(*VNNI), arch="edgenext_base").speed == "2.2x or more"
    assert expectation(machine("avx2"), arch="edgenext_small").speed == "1.8x to 2x"
    nothing = expectation(machine(), arch="edgenext_small")
    assert (nothing.low, nothing.high) == (None, None)


def test_what_was_not_measured_says_so() -> None:
    assert "measured on" in advice_line(machine(*VNNI))
    line = advice_line(machine("avx2"))
    assert "1.5x to 1.7x (XXS) and 1.8x to 2x (S)" in line and "measured on" in line
    assert "7-bit weights and unsigned activations" in line and "saturate" in line
    for isa in (("avx2", "avx_vnni"), ("dotprod",), ("i8mm",)):
        assert "expected, not measured" in advice_line(machine(*isa))


def test_bf16_is_a_rival_where_the_cpu_multiplies_it() -> None:
    with_bf16 = machine(*VNNI, "avx512_bf16")
    assert "bf16" not in advice_line(machine(*VNNI))
    assert "bench `--scheme bf16` beside it" in advice_line(with_bf16, "cpu-openvino")
    assert "bench `--target cpu-openvino --scheme bf16`" in advice_line(
        with_bf16, "cpu-onnxruntime"
    )
    assert "bf16" in schemes("cpu-openvino")
    assert "bf16" not in expectation(with_bf16).recommendation


def test_a_line_is_one_line_and_about_this_cpu_only() -> None:
    for isa in (VNNI, ("avx2",), ()):
        assert "\n" not in advice_line(machine(*isa))
    line = advice_line(machine(*VNNI), "jetson")
    assert "jetson" in line and "x" not in line.split("jetson")[0].split() and "1.6x" not in line
    assert advice_line(environment()).startswith("INT8 on ")


def speeds(results: dict[str, Any]) -> dict[str, float]:
    """INT8's speed where the plain export's is 1, by architecture, in a file of `results/`."""
    speeds = {}
    for part in results["latency"]:
        p50 = {
            r["artifact"]: r["latency_ms"]["p50"] for r in part.get("rows") or part.get("results")
        }
        name = f"{part['model']}-256"
        speeds[part["model"]] = p50[f"{name}-fp32-plain"] / p50[f"{name}-w8a8-static"]
    return speeds


@pytest.mark.parametrize("path", sorted(RESULTS.glob("a[mv]x*.json")), ids=lambda path: path.stem)
def test_published_results_are_as_expected(path: Path) -> None:
    results = json.loads(path.read_text())
    env = Environment.model_validate(results["environment"])
    for arch, speed in speeds(results).items():
        advice = expectation(env, arch=arch)
        assert advice.measured, "what is published has been measured"
        assert advice.low is not None and speed > 0.95 * advice.low, (arch, speed)
        assert advice.high is None or speed < 1.05 * advice.high, (arch, speed)
