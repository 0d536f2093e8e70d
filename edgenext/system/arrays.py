"""Arrays in a zip: NumPy's .npz, written under any names and read within bounds."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from edgenext.errors import EdgenextError, InputError
from edgenext.system.files import atomic_path
from edgenext.system.reading import open_file, open_zip, read_member, readable, reason, size_text

ENDING = ".npy"
MAX_BYTES = 1 << 32
"""The largest sum of arrays that is read: 50,000 images × 1,000 classes × 10 files in float16 take
a quarter of it."""


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as an .npz; the same arrays give the same bytes.

    `np.savez` takes names as keywords, so that an array called `file` replaces its first argument.

    Args:
        path: of the file.
        arrays: by name.

    Raises:
        OutputError: the file cannot be written.
    """
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(name + ENDING)
            member.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(member, "w", force_zip64=True) as file:
                npy.write_array(file, np.asarray(array), allow_pickle=False)


def read_arrays(
    path: Path, error: type[EdgenextError] = InputError, limit: int = MAX_BYTES
) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz, by name.

    Args:
        path: of the file.
        error: the class of the error.
        limit: bytes of all arrays together.

    Raises:
        EdgenextError: of class `error`: the file cannot be read, is not such a zip, is encrypted or
            damaged, or its arrays are larger than `limit`.
    """
    with open_file(path, error) as file:
        try:
            with open_zip(file) as archive:
                members = [m for m in archive.infolist() if m.filename.endswith(ENDING)]
                if sum(member.file_size for member in members) > limit:
                    raise ValueError(f"its arrays are larger than {size_text(limit)}")
                return {
                    member.filename.removesuffix(ENDING): _array(
                        read_member(archive, member, limit)
                    )
                    for member in members
                }
        except (OSError, ValueError) as e:
            raise error(f"{readable(path)} is not an archive of arrays: {reason(e)}") from e


def _array(data: bytes) -> NDArray[Any]:
    """The array in the bytes of an .npy; its header decides nothing that the bytes do not have.

    Raises:
        ValueError: it is not an array of numbers, or has another size than its header says.
    """
    file = io.BytesIO(data)
    try:
        version = npy.read_magic(file)
        read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = read_header(file)
        content = data[file.tell() :]
        if dtype.kind not in "biuf" or min(shape, default=1) < 0:
            raise ValueError("an array is not of numbers")
        if math.prod(shape) * dtype.itemsize != len(content):
            raise ValueError("an array has another size than its header says")
        return np.frombuffer(content, dtype).reshape(shape, order="F" if fortran else "C")
    except ValueError:
        raise
    except Exception as e:  # the header is a Python literal, which can end in any exception
        raise ValueError(f"an array's header is damaged: {reason(e)}") from e
