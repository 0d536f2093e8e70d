"""Targets: where a file will run, the form that is fastest there, and what cannot run there."""

import tomllib
from dataclasses import dataclass, field
from importlib import resources

from edgenext.errors import unknown_name

FORMS = ("naive", "convT", "convC")
"""The layouts a network can be exported in; docs/forms.md has the measurements."""

DEFAULT_TARGET = "cpu-onnxruntime"


@dataclass(frozen=True)
class Target:
    """Where a file will run, and in which format.

    `refuses` maps a scheme to the reason why it cannot run there.
    """

    form: str
    about: str
    format: str = "onnx"
    refuses: dict[str, str] = field(default_factory=dict)


def _read() -> dict[str, Target]:
    text = resources.files("edgenext.graph").joinpath("targets.toml").read_text("utf-8")
    return {name: Target(**values) for name, values in tomllib.loads(text).items()}


TARGETS = _read()


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
