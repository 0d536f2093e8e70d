"""Targets: where files will run. Each has a folder, with a recipe for every scheme that it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import resources

from edgenext.errors import UsageError, unknown_name
from edgenext.system.packaged import packaged_folders
from edgenext.targets.scheme import SCHEMES

PACKAGE = "edgenext.targets"

FORMS = ("naive", "convT", "convC")
"""Layouts in which a network can be exported; docs/forms.md has the measurements."""


@dataclass(frozen=True)
class Target:
    """The `target.toml` of a folder.

    `form` is the fastest float form on the target (docs/forms.md), `format` that of its files.
    `device` is the kind of device that its files are measured on, on the unit `unit` if that is not
    the device's default; `place` names the target where a CPU's latency says nothing about it.
    `auto` says that the CPU that measures can be the target: `--target auto` considers it.
    `half` says that floats may be computed in float16 there, whatever their type in the file,
    `cast_first` that uint8 pixels have to be cast before any other operator reads them.
    `refuses` maps schemes that it cannot run to the reason, where that says more than the scheme's
    own.
    """

    about: str
    form: str
    format: str = "onnx"
    device: str = ""
    unit: str = ""
    place: str = ""
    auto: bool = False
    half: bool = False
    cast_first: bool = False
    refuses: dict[str, str] = field(default_factory=dict)


TARGETS = {
    folder: Target(**values) for folder, values in packaged_folders(PACKAGE, "target.toml").items()
}
"""Targets by name."""


def require_target(name: str) -> Target:
    """A target by name.

    Raises:
        UsageError: no such target; the nearest names are suggested.
    """
    if name not in TARGETS:
        raise unknown_name("target", name, TARGETS)
    return TARGETS[name]


def form_for(target: str) -> str:
    """The fastest form for a target.

    Raises:
        UsageError: no such target; the nearest names are suggested.
    """
    return require_target(target).form


def schemes(target: str) -> list[str]:
    """The schemes that a target has a recipe for.

    Raises:
        UsageError: no such target.
    """
    require_target(target)
    folder = resources.files(PACKAGE).joinpath(target)
    recipes = {file.name.removesuffix(".toml") for file in folder.iterdir()}
    return [scheme for scheme in SCHEMES if scheme in recipes]


def require_runnable(target: str, scheme: str) -> None:
    """Refuse a scheme that a target does not run.

    Raises:
        UsageError: no such target or scheme, or no recipe; the message gives the reason.
    """
    if scheme not in SCHEMES:
        raise unknown_name("scheme", scheme, SCHEMES)
    runnable = schemes(target)
    if scheme not in runnable:
        reason = TARGETS[target].refuses.get(scheme, SCHEMES[scheme].refused)
        raise UsageError(f"{target} cannot run {scheme}: {reason}", f"Use {' or '.join(runnable)}")


def recipe_text(target: str, scheme: str) -> str:
    """The TOML of a target's recipe for a scheme that it runs."""
    return resources.files(PACKAGE).joinpath(target, f"{scheme}.toml").read_text("utf-8")
