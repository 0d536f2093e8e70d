"""Large arrays outside of memory: an unnamed file in the cache, which no crash leaves behind."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from edgenext.errors import OutputError
from edgenext.system.files import cache_folder

IN_MEMORY = 1 << 25
"""Bytes up to which rows are kept in memory: 32 MiB, the logits of 8,000 images of ImageNet."""


def stack_rows(parts: Iterable[NDArray[np.float32]], rows: int) -> NDArray[np.float32]:
    """Parts of an N×K float32 array as one, read-only and on disk if it is large.

    Args:
        parts: arrays of equal rows, N in all.
        rows: N.

    Raises:
        OutputError: the disk is full, or the cache cannot be written.
    """
    iterator = iter(parts)
    first = next(iterator)
    arrays = (np.asarray(part, np.float32) for part in chain((first,), iterator))
    shape = (rows, *first.shape[1:])
    if math.prod(shape) * 4 <= IN_MEMORY:
        return np.concatenate(list(arrays))
    return _on_disk(arrays, shape)


def _on_disk(parts: Iterator[NDArray[np.float32]], shape: tuple[int, ...]) -> NDArray[np.float32]:
    folder = cache_folder("scratch")
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = cast(BinaryIO, tempfile.TemporaryFile(dir=folder))  # noqa: SIM115 - closed below
    with file:
        # Written, not mapped: on a full disk, writing to a mapped page kills the process.
        for part in parts:
            with _writing(folder):
                file.write(np.ascontiguousarray(part).data)
        with _writing(folder):
            file.flush()
        return np.asarray(np.memmap(file, np.float32, "r", shape=shape))  # outlives the file


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise OutputError(
            f"cannot write {folder}: {e.strerror or e}",
            "Free some space, or set EDGENEXT_CACHE to another folder",
        ) from e
