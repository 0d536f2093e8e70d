"""Quantization schemes: the rows of `schemes.toml`."""

from __future__ import annotations

from dataclasses import dataclass

from edgenext.system.packaged import packaged_rows

FLOAT = "fp32"
"""The scheme of a file that is not quantized."""


@dataclass(frozen=True)
class Scheme:
    """One row of `schemes.toml`, whose header explains the fields."""

    about: str
    least_db: float
    why: str
    method: str = ""
    calibrated: bool = False
    int8: bool = False
    sections: tuple[str, ...] = ()
    refused: str = ""


ROWS = packaged_rows("edgenext.targets", "schemes.toml", Scheme)
"""Every scheme by name, including unquantized float."""

SCHEMES = {name: scheme for name, scheme in ROWS.items() if name != FLOAT}
"""Quantization schemes by name."""

CALIBRATED = tuple(name for name, scheme in SCHEMES.items() if scheme.calibrated)
"""Schemes whose ranges come from calibration images."""


def is_int8(scheme: str) -> bool:
    """Whether files of a scheme compute in 8-bit integers."""
    return scheme in SCHEMES and SCHEMES[scheme].int8
