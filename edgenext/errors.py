"""The tree of errors.

    EdgenextError                1   any other failure; the base of all classes below
    ├── UsageError               2   an unsupported option or an unknown name
    ├── InputError               3   a file that is missing, damaged or of the wrong kind
    │   ├── CheckpointError      3   weights that do not fit the architecture or are unsafe to load
    │   ├── DataError            3   images or labels that cannot be used
    │   └── ArtifactError        3   an unusable deployment file or manifest
    ├── OverlapError             4   calibration and evaluation share images
    ├── ParityError              5   an export whose outputs differ from the network's
    ├── OutputError              6   a result that cannot be written
    ├── DownloadError            7   a checkpoint that cannot be downloaded
    ├── MissingDependencyError   8   an optional package that is not installed
    ├── RuntimeFailedError       9   a runtime that rejected an artifact or crashed
    │   └── RuntimeCrashedError  9   a runtime whose process died
    ├── DeviceError              10  a device that is unreachable, refuses, or answers incorrectly
    ├── RefusedError             11  a file that a vendor's compiler rejects, wholly or in part
    ├── VerificationError        12  files that are not what their records say
    ├── GateFailedError          13  a condition of --fail-if holds, or a search that found nothing
    ├── UndecidedError           14  a condition that the measurements cannot decide
    ├── SchedulerError           15  a scheduler that is unreachable, or workers that cannot be used
    └── SweepFailedError         16  points of a sweep that failed; all others are measured

130 is the shell's convention for Ctrl-C. Every message names the thing and says why;
`remedy` says what to do. The command line prints both on one line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MESSAGE_LIMIT = 2000
"""Characters of a message, which may hold names that a file gives; what is longer is cut."""
INTERRUPTED = 130
"""Exit code of a command ended by Ctrl-C."""


def printable(text: str) -> str:
    """A text with a space for each line break or other control character."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


class EdgenextError(Exception):
    """A failure that the user can understand and act on."""

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        if len(message) > MESSAGE_LIMIT:
            message = f"{message[:MESSAGE_LIMIT]}…"
        self.message = printable(message)  # names that files give things may have line breaks
        super().__init__(self.message)
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.message}. {self.remedy}" if self.remedy else self.message


class UsageError(EdgenextError):
    """An unsupported option or an unknown name."""

    exit_code = 2


class InputError(EdgenextError):
    """A file that is missing, damaged or of the wrong kind."""

    exit_code = 3


class CheckpointError(InputError):
    """Weights that do not fit the architecture or are unsafe to load."""


class DataError(InputError):
    """Images or labels that cannot be used."""


class ArtifactError(InputError):
    """An unusable deployment file or manifest."""


class OverlapError(EdgenextError):
    """Calibration and evaluation share images."""

    exit_code = 4


class ParityError(EdgenextError):
    """An export whose outputs differ from the network's."""

    exit_code = 5


class OutputError(EdgenextError):
    """A result that cannot be written."""

    exit_code = 6


class DownloadError(EdgenextError):
    """A checkpoint that cannot be downloaded."""

    exit_code = 7


class MissingDependencyError(EdgenextError):
    """An optional package that is not installed."""

    exit_code = 8


class RuntimeFailedError(EdgenextError):
    """A runtime that rejected an artifact or crashed while running it."""

    exit_code = 9


class RuntimeCrashedError(RuntimeFailedError):
    """A runtime whose process died, or was killed because it hung."""


class DeviceError(EdgenextError):
    """A device that is unreachable, refuses, or answers incorrectly."""

    exit_code = 10


class RefusedError(EdgenextError):
    """A file that a vendor's compiler rejects, wholly or in part."""

    exit_code = 11


class VerificationError(EdgenextError):
    """Files that are not what their records say, or that cannot be made again from them."""

    exit_code = 12


class GateFailedError(EdgenextError):
    """A condition of `--fail-if` holds, or no file that a search tried is under its budget."""

    exit_code = 13


class UndecidedError(EdgenextError):
    """A condition that the measurements cannot decide, where that is a failure."""

    exit_code = 14


class SchedulerError(EdgenextError):
    """A scheduler that is unreachable, or whose workers cannot be used."""

    exit_code = 15


class SweepFailedError(EdgenextError):
    """Points of a sweep that failed; all others are measured and written."""

    exit_code = 16


MOST_NAMES = 40
"""Known names that an error lists."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for an unknown name; its remedy suggests the most similar known names."""
    known = sorted(known)
    similar = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if similar:
        remedy = f"Did you mean {' or '.join(similar)}?"
    else:
        more = len(known) - MOST_NAMES
        rest = f" and {more} more" if more > 0 else ""
        remedy = f"Known: {', '.join(known[:MOST_NAMES]) or 'none'}{rest}"
    return UsageError(f"unknown {kind} {name!r}", remedy)
