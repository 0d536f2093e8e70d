"""The standard streams of a command: closed, full or broken ones end in one clean error."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any, TextIO

from edgenext.errors import OutputError

STDIN, STDOUT, STDERR = range(3)


class _Stdout(io.FileIO):
    """Standard output; what cannot be written is an `OutputError`, except to a closed pipe."""

    def write(self, data: Any, /) -> int:
        """Write bytes.

        Raises:
            BrokenPipeError: nobody reads any more.
            OutputError: the file is closed, or its disk is full.
        """
        try:
            return super().write(data) or 0
        except BrokenPipeError:
            raise
        except OSError as e:
            raise OutputError(f"cannot write to standard output: {e.strerror}") from e


class _Stderr(io.FileIO):
    """Standard error; what cannot be written is lost."""

    def write(self, data: Any, /) -> int:
        """Write bytes, if possible."""
        with contextlib.suppress(OSError):
            return super().write(data) or 0
        return len(data)


def guarded_streams() -> None:
    """Make this process's standard streams fail cleanly; streams that a test replaced are kept.

    A closed stream is opened again, without access for writing: else the next file to be opened
    would get its number, and native code that prints would write into that file.
    """
    closed = [number for number in (STDIN, STDOUT, STDERR) if _is_closed(number)]
    for number in closed:
        descriptor = os.open(os.devnull, os.O_RDONLY)
        if descriptor != number:
            os.dup2(descriptor, number)
            os.close(descriptor)
    if _is_own(sys.stdout, STDOUT):
        sys.stdout = _text(_Stdout(STDOUT, "w", closefd=False), sys.stdout)
    if _is_own(sys.stderr, STDERR):
        sys.stderr = _text(_Stderr(STDERR, "w", closefd=False), sys.stderr)


def leave_stdout() -> None:
    """Have the interpreter's last flush of standard output succeed, whatever could not be written.

    What can still be written is written.
    """
    try:
        sys.stdout.flush()
    except (OSError, OutputError, ValueError):
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_closed(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return True
    return False


def _is_own(stream: TextIO | None, number: int) -> bool:
    """Whether a stream is the interpreter's own of this number, or was closed at its start."""
    if stream is None:
        return True
    own = sys.__stdout__ if number == STDOUT else sys.__stderr__
    return stream is own


def _text(raw: io.FileIO, former: TextIO | None) -> TextIO:
    """A text stream; characters that it cannot encode are written as escapes."""
    if former is not None:
        with contextlib.suppress(OSError):
            former.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=former.encoding if former is not None else "utf-8",
        errors="backslashreplace",
        line_buffering=raw.isatty() or raw.fileno() == STDERR,
    )
