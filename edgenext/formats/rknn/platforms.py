"""Rockchip's SoCs by name, and what the options allow."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgenext.errors import UsageError, unknown_name
from edgenext.formats.format import Choices
from edgenext.system.packaged import packaged_rows

DEFAULT_PLATFORM = "rk3588"
OPSET = 17
"""The newest opset that the toolkit takes whole: it refuses the Gelu of opset 20."""


@dataclass(frozen=True)
class Platform:
    """One row of `platforms.toml`."""

    about: str


PLATFORMS = packaged_rows("edgenext.formats.rknn", "platforms.toml", Platform)


def require_platform(name: str) -> str:
    """A name of `platforms.toml`; the default one if it is empty.

    Raises:
        UsageError: unknown platform; the nearest names are suggested.
    """
    name = name.lower() or DEFAULT_PLATFORM
    if name not in PLATFORMS:
        raise unknown_name("platform", name, PLATFORMS)
    return name


def resolve(choices: Choices) -> Choices:
    """The platform by its name in `platforms.toml`, and the opset that the toolkit takes.

    Raises:
        UsageError: unknown platform; pixels, or several images a call.
    """
    if choices.pixels:
        raise UsageError(
            "an RKNN file takes normalised floats: Rockchip's runtime normalises bytes by itself, "
            "in front of the graph",
            "Leave --uint8-input out",
        )
    if choices.batch != 1:
        raise UsageError(
            f"an RKNN file takes one image a call, not {choices.batch or 'any number'}",
            "Leave --batch out",
        )
    options = dict(choices.options)
    if "platform" in options:
        options["platform"] = require_platform(str(options["platform"]))
    return replace(choices, options=options, opset=OPSET, opset_limit=OPSET)
