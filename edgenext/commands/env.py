"""Make a private environment: of a converter, or of JavaScript."""

from __future__ import annotations

from pathlib import Path

from edgenext.errors import UsageError
from edgenext.formats.format import FORMATS
from edgenext.system import environments


def make_environment(name: str) -> Path:
    """Make a private environment unless it is there; its Python, or its `node_modules`.

    Args:
        name: of the environment, such as `tflite` or `web`.

    Raises:
        UsageError: no such environment; for a format that needs none, what it takes.
        MissingDependencyError: npm is needed and not installed.
        OutputError: it cannot be installed; nothing is left behind.

    >>> make_environment("openvino")
    Traceback (most recent call last):
    edgenext.errors.UsageError: openvino needs no environment of its own. It takes pip install ...
    """
    if name in FORMATS and name not in environments.NAMES:
        row = FORMATS[name]
        needs = "It takes nothing more"
        if row.converter and row.converter.needs:
            needs = f"It takes pip install 'edgenext[{row.converter.extra or name}]'"
        raise UsageError(f"{name} needs no environment of its own", needs)
    return environments.make(name)
