"""Output of native code, which does not go through `sys.stdout`."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import IO


@contextlib.contextmanager
def native_output_hidden() -> Iterator[None]:
    """Discard everything written to file descriptors 1 and 2 in the block."""
    with tempfile.TemporaryFile() as sink, native_output_in(sink):
        yield


@contextlib.contextmanager
def native_output_in(sink: IO[bytes]) -> Iterator[None]:
    """Write to a file what is written to file descriptors 1 and 2 in the block."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    try:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, original in zip((1, 2), saved, strict=True):
            os.dup2(original, descriptor)
            os.close(original)
