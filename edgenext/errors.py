"""The tree of errors.

    EdgenextError                1   anything below, and what has no class of its own
    ├── UsageError               2   an option or a name that cannot be
    ├── InputError               3   a file that is missing, broken or not what it should be
    │   ├── CheckpointError      3   weights that do not fit the architecture, or are unsafe
    │   ├── DataError            3   images or labels
    │   └── ArtifactError        3   a deployable file or its manifest
    ├── OverlapError             4   calibration and evaluation share images
    ├── ParityError              5   an export that does not agree with the network
    ├── OutputError              6   a result that cannot be written
    ├── DownloadError            7   a checkpoint that cannot be fetched whole
    ├── MissingDependencyError   8   an optional package that is not installed
    ├── RuntimeFailedError       9   a runtime that refused or died
    ├── DeviceError              10  a device that cannot be reached, refuses or answers nonsense
    └── RefusedError             11  a file that a vendor's compiler does not take, or not whole

130 is what the shell expects of Ctrl-C. Every message names the thing and says why;
`remedy` says what to do. The command line prints both on one line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

INTERRUPTED = 130
"""Exit code of a command ended by Ctrl-C."""


class EdgenextError(Exception):
    """A failure the user can understand and act on."""

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}. {self.remedy}" if self.remedy else self.message


class UsageError(EdgenextError):
    """An option or a name that cannot be."""

    exit_code = 2


class InputError(EdgenextError):
    """A file that is missing, broken or not what it should be."""

    exit_code = 3


class CheckpointError(InputError):
    """Weights that do not fit the architecture, or are unsafe to load."""


class DataError(InputError):
    """Images or labels that cannot be used."""


class ArtifactError(InputError):
    """A deployable file or its manifest."""


class OverlapError(EdgenextError):
    """Calibration and evaluation share images."""

    exit_code = 4


class ParityError(EdgenextError):
    """An export that does not agree with the network."""

    exit_code = 5


class OutputError(EdgenextError):
    """A result that cannot be written."""

    exit_code = 6


class DownloadError(EdgenextError):
    """A checkpoint that cannot be fetched whole."""

    exit_code = 7


class MissingDependencyError(EdgenextError):
    """An optional package that is not installed."""

    exit_code = 8


class RuntimeFailedError(EdgenextError):
    """A runtime that refused an artifact or died while running it."""

    exit_code = 9


class DeviceError(EdgenextError):
    """A device that cannot be reached, refuses, or answers nonsense."""

    exit_code = 10


class RefusedError(EdgenextError):
    """A file that a vendor's compiler does not take, or takes only a part of."""

    exit_code = 11


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that does not exist, with the nearest ones that do."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    every = ", ".join(known) or "none"
    remedy = f"Did you mean {' or '.join(near)}?" if near else f"Known: {every}"
    return UsageError(f"unknown {kind} {name!r}", remedy)
