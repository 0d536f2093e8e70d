"""Reading weights files, identified by content, without running any code they refer to.

Published checkpoints are pickles with an `argparse.Namespace` and numpy scalars beside the tensors.
torch's restricted unpickler reads them with only those names allowed, and each of the names is
mapped to an inert object: only tensors and plain containers are ever built from the file.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED

from edgenext.errors import CheckpointError
from edgenext.system.reading import open_file, open_zip, reason

ALLOWED_GLOBALS = (
    "argparse.Namespace",
    "numpy.dtype",
    "numpy.core.multiarray.scalar",  # numpy 1
    "numpy._core.multiarray.scalar",  # numpy 2
)
"""Names that a pickle may refer to besides tensors and plain containers."""

_SAFE_REMEDY = (
    "Only tensors, plain containers, argparse.Namespace and numpy scalars are allowed; "
    "if you trust the file, save its state dict as .safetensors"
)


class Inert:
    """A placeholder for an allowed object of a pickle; it stores nothing from the file."""

    def __new__(cls, *_: object) -> Inert:
        """Accept any arguments: the unpickler calls both `cls(*args)` and `cls.__new__`."""
        return object.__new__(cls)

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, state: object) -> None:
        """Discard the state."""


def read_weights_file(path: Path) -> Any:
    """The root object of a weights file; for safetensors its dict of tensors.

    Reads safetensors files, torch's zip format and its older plain format.

    Raises:
        CheckpointError: the file is missing, damaged or not a weights file, or it is a pickle that
            refers to anything but tensors, plain containers and `ALLOWED_GLOBALS`.
    """
    start = _start(path)
    if start[8:9] == b"{":
        return _read_safetensors(path)
    if start.startswith((b"PK\x03\x04", b"\x80")):
        return _read_torch(path)
    raise CheckpointError(
        f"{path} is not a weights file: neither a PyTorch checkpoint nor a safetensors file",
        "Give a .pth, .pt, .bin or .safetensors file",
    )


def _start(path: Path) -> bytes:
    """The first bytes of a file.

    Raises:
        CheckpointError: the file cannot be read, or is empty.
    """
    try:
        if not path.exists():
            raise CheckpointError(f"the weights file {path} does not exist")
        if path.is_dir():
            raise CheckpointError(f"{path} is a folder", "Give the weights file inside it")
        with open_file(path, CheckpointError) as f:
            start = f.read(16)
    except OSError as e:
        raise CheckpointError(f"cannot read {path}: {e.strerror}") from e
    if not start:
        raise CheckpointError(f"{path} is empty", "Copy or download it again")
    return start


def _read_safetensors(path: Path) -> Any:
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as e:  # shapes that torch cannot hold can end in any exception
        raise CheckpointError(
            f"{path} is cut short or damaged: {_one_line(e)}", "Copy or download it again"
        ) from e


def _read_torch(path: Path) -> Any:
    import torch

    allowed: list[Any] = [(Inert, name) for name in ALLOWED_GLOBALS]
    _require_stored(path)
    try:
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols and TorchScript; see below
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # a hostile or damaged file can end in any exception
        raise _refusal(path, str(e)) from e


def _require_stored(path: Path) -> None:
    """Refuse a zip with compressed members: torch writes none, and they could fill the memory.

    Raises:
        CheckpointError: as above, or the zip's directory is damaged.
    """
    with open_file(path, CheckpointError) as file:
        if file.read(2) != b"PK":
            return
        try:
            with open_zip(file) as archive:
                sizes = [(m.compress_type, m.compress_size, m.file_size) for m in archive.filelist]
        except (ValueError, OSError) as e:
            raise CheckpointError(
                f"{path} is cut short or damaged: {reason(e)}", "Copy or download it again"
            ) from e
    if any(kind != ZIP_STORED or stored != size for kind, stored, size in sizes):
        raise CheckpointError(
            f"{path} is not a weights file: its content is compressed", "Save it with torch.save"
        )


def _refusal(path: Path, reason: str) -> CheckpointError:
    """The error for a file that torch's restricted unpickler rejects."""
    if named := re.search(r"GLOBAL (\S+)", reason):
        return CheckpointError(
            f"{path} is unsafe: loading it would run {named[1]}; nothing was run", _SAFE_REMEDY
        )
    if "TorchScript" in reason:
        return CheckpointError(
            f"{path} is a TorchScript program, not weights", "Save the network's state_dict()"
        )
    if "Weights only load failed" in reason or "Invalid magic number" in reason:
        return CheckpointError(
            f"{path} is a pickle that cannot be read safely; nothing was run", _SAFE_REMEDY
        )
    return CheckpointError(
        f"{path} is cut short or damaged: {_one_line(reason)}", "Copy or download it again"
    )


def _one_line(reason: object) -> str:
    """The first sentence of a library's message."""
    return re.split(r"\n|\. |; ", str(reason).strip(), maxsplit=1)[0][:200] or "no reason given"
