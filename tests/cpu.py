"""Features of this machine's CPU on which tests depend."""

from __future__ import annotations

from edgenext.benchmark.environment import environment

ISA = environment().isa
VNNI = any("vnni" in name or name == "amx_int8" for name in ISA)
"""8-bit products are added in 32 bits; without it some kernels saturate in 16."""
BF16 = any(name.startswith(("avx512", "amx")) for name in ISA)
"""OpenVINO computes in bfloat16, natively or by conversion."""
