"""Targets: where a file will run, one folder each, with a recipe for every scheme that it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import resources

from edgenext.errors import UsageError, unknown_name
from edgenext.system.packaged import packaged_folders
from edgenext.targets.scheme import SCHEMES

PACKAGE = "edgenext.targets"

FORMS = ("naive", "convT", "convC")
"""The layouts a network can be exported in; docs/forms.md has the measurements."""


@dataclass(frozen=True)
class Target:
    """One folder's `target.toml`: where a file will run, and what follows from that.

    `form` is the fastest float form measured there (docs/forms.md), `format` that of its files.
    `device` is the kind of device that its files are measured on, by `unit` where that is not the
    device's own; `place` names it where a CPU's latency says nothing of it. `refuses` maps a
    scheme to the reason why it cannot run there, where that is more than the scheme's own.
    """

    about: str
    form: str
    format: str = "onnx"
    device: str = ""
    unit: str = ""
    place: str = ""
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
    """Schemes with a recipe for a target.

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
        UsageError: no such target or scheme, or no recipe; the message says why.
    """
    if scheme not in SCHEMES:
        raise unknown_name("scheme", scheme, SCHEMES)
    able = schemes(target)
    if scheme not in able:
        why = TARGETS[target].refuses.get(scheme, SCHEMES[scheme].refused)
        raise UsageError(f"{target} cannot run {scheme}: {why}", f"Use {' or '.join(able)}")


def recipe_text(target: str, scheme: str) -> str:
    """The TOML of the recipe that a target has for a scheme it runs."""
    return resources.files(PACKAGE).joinpath(target, f"{scheme}.toml").read_text("utf-8")
