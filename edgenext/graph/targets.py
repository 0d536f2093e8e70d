"""Targets: where a file will run, the form that is fastest there, and what cannot run there."""

from dataclasses import dataclass, field

from edgenext.errors import unknown_name
from edgenext.files import packaged_rows

FORMS = ("naive", "convT", "convC")
"""The layouts a network can be exported in; docs/forms.md has the measurements."""

DEFAULT_TARGET = "cpu-onnxruntime"


@dataclass(frozen=True)
class Target:
    """Where a file will run, and in which format.

    `device` is the kind of device that its files are measured on, by `unit` where that is not the
    device's own, `place` what that is, where a CPU's time tells nothing of it. `refuses` maps a
    scheme to the reason why it cannot run there.
    """

    form: str
    about: str
    format: str = "onnx"
    device: str = ""
    unit: str = ""
    place: str = ""
    refuses: dict[str, str] = field(default_factory=dict)


TARGETS = packaged_rows("edgenext.graph", "targets.toml", Target)


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
