"""The second file of an RKNN artifact: what the simulator builds the graph from, in a zip."""

from __future__ import annotations

import json
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgenext.errors import RuntimeFailedError

ENDING = ".simulator.zip"
RECORD = "build.json"
FLOAT = ("graph.onnx",)
QUANTIZED = ("graph.model", "graph.json", "graph.quantization.cfg")
MEMBERS = (RECORD, *FLOAT, *QUANTIZED)
JSON_MEMBERS = (RECORD, *QUANTIZED[1:])


def package_path(path: Path) -> Path:
    """The path of the zip of the .rknn file at `path`."""
    return path.with_suffix(ENDING)


def write_package(path: Path, folder: Path, record: Mapping[str, Any]) -> None:
    """Write the zip of a graph that was built in a folder: the same bytes of the same files.

    Args:
        path: of the .rknn file.
        folder: has the files of a float or of a quantized graph.
        record: what the toolkit said of it.
    """
    names = QUANTIZED if (folder / QUANTIZED[0]).is_file() else FLOAT
    with zipfile.ZipFile(package_path(path), "w") as archive:  # stored: weights do not compress
        archive.writestr(zipfile.ZipInfo(RECORD), json.dumps(record, sort_keys=True))
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), (folder / name).read_bytes())


def read_record(path: Path) -> dict[str, Any]:
    """What the toolkit said of a file when it was built.

    Raises:
        RuntimeFailedError: the zip is missing or damaged.
    """
    try:
        with zipfile.ZipFile(package_path(path)) as archive:
            record: dict[str, Any] = json.loads(archive.read(RECORD))
            for key in ("input", "outputs", "layers", "platform"):
                record[key]
    except (OSError, ValueError, KeyError, TypeError, *ZIP_ERRORS) as e:
        raise _unreadable(path, e) from e
    return record


ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError)


def unpack(path: Path, folder: Path) -> None:
    """Write the files of the zip to a folder, under the names that they must have.

    Raises:
        RuntimeFailedError: the zip is missing or damaged.
    """
    try:
        with zipfile.ZipFile(package_path(path)) as archive:
            for info in archive.infolist():
                if info.filename not in MEMBERS or info.compress_type != zipfile.ZIP_STORED:
                    raise zipfile.BadZipFile(f"{info.filename!r} does not belong in it")
                with archive.open(info) as source, (folder / info.filename).open("wb") as copy:
                    shutil.copyfileobj(source, copy)
        for name in JSON_MEMBERS:
            if (folder / name).is_file():
                json.loads((folder / name).read_bytes())
    except (OSError, ValueError, *ZIP_ERRORS) as e:
        raise _unreadable(path, e) from e


def _unreadable(path: Path, error: Exception) -> RuntimeFailedError:
    return RuntimeFailedError(
        f"{package_path(path).name} is not what Rockchip's simulator needs: {error}",
        "Export the file again",
    )
