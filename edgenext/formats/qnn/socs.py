"""Qualcomm's SoCs by name, and the option `soc`."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgenext.errors import unknown_name
from edgenext.formats.format import Choices
from edgenext.system.packaged import packaged_rows

DEFAULT_SOC = "SM8650"


@dataclass(frozen=True)
class Soc:
    """One row of `socs.toml`."""

    htp_arch: int
    soc_model: int
    about: str


SOCS = packaged_rows("edgenext.formats.qnn", "socs.toml", Soc)


def require_soc(name: str) -> Soc:
    """The SoC of a name; the default one if it is empty.

    Raises:
        UsageError: unknown SoC; the nearest names are suggested.
    """
    name = name.upper() or DEFAULT_SOC
    if name not in SOCS:
        raise unknown_name("SoC", name, SOCS)
    return SOCS[name]


def resolve(choices: Choices) -> Choices:
    """The option `soc`, as a name of `socs.toml`.

    Raises:
        UsageError: unknown SoC; the nearest names are suggested.
    """
    name = str(choices.options.get("soc", DEFAULT_SOC)).upper()
    require_soc(name)
    return replace(choices, options={**choices.options, "soc": name})
