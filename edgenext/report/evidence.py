"""What stands behind a number, in words."""

from __future__ import annotations

from edgenext.schema import Evidence

EVIDENCE: dict[Evidence | str, str] = {
    "device": "measured on the hardware named",
    "host": "measured on the CPU of the machine named under “Machine”",
    "simulator": "from the vendor’s functional simulator: accuracy only",
    "emulated": "measured under emulation: accuracy only",
    "compiler": "reported by the vendor’s compiler",
    "estimate": "from a vendor’s performance model, not measured",
    "published": "published by others, not measured here",
}
"""The meaning of each evidence label."""
