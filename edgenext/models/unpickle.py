"""What is in a weights file, told by its content, without running anything the file asks for.

Published checkpoints are pickles that hold an `argparse.Namespace` and numpy scalars beside the
tensors. torch's restricted unpickler reads them with exactly those names allowed, and each of the
names stands for an inert object here: nothing outside the tensors is ever built from the file.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

from edgenext.errors import CheckpointError

ALLOWED_GLOBALS = (
    "argparse.Namespace",
    "numpy.dtype",
    "numpy.core.multiarray.scalar",  # numpy 1
    "numpy._core.multiarray.scalar",  # numpy 2
)
"""What a pickle may name besides tensors and plain containers."""

_SAFE_REMEDY = (
    "Only tensors, plain containers, argparse.Namespace and numpy scalars are read; "
    "save the state dict as .safetensors where you trust the file"
)


class Inert:
    """Stands for an allowed object of a pickle and forgets what the file says about it."""

    def __new__(cls, *_: object) -> Inert:
        """Take any arguments: the unpickler calls both `cls(*args)` and `cls.__new__`."""
        return object.__new__(cls)

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, state: object) -> None:
        """Keep nothing."""


def read_weights_file(path: Path) -> Any:
    """The root object of a weights file: for safetensors its dict of tensors.

    Reads `.safetensors`, torch's zip format and its older plain format.

    Raises:
        CheckpointError: no such file, not weights, cut short, or a pickle that names anything
            but tensors, plain containers and `ALLOWED_GLOBALS`.
    """
    start = _start(path)
    if start[8:9] == b"{":
        return _read_safetensors(path)
    if start.startswith((b"PK\x03\x04", b"\x80")):
        return _read_torch(path)
    raise CheckpointError(
        f"{path} holds no weights: it is neither a PyTorch checkpoint nor a safetensors file",
        "Give a .pth, .pt, .bin or .safetensors file",
    )


def _start(path: Path) -> bytes:
    """The first bytes of a file that can be read.

    Raises:
        CheckpointError: it cannot, or it is empty.
    """
    try:
        with path.open("rb") as f:
            start = f.read(16)
    except FileNotFoundError as e:
        raise CheckpointError(f"there is no weights file {path}") from e
    except IsADirectoryError as e:
        raise CheckpointError(f"{path} is a folder", "Give the weights file inside it") from e
    except OSError as e:
        raise CheckpointError(f"cannot read {path}: {e.strerror}") from e
    if not start:
        raise CheckpointError(f"{path} is empty", "Copy or download it again")
    return start


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as e:
        raise CheckpointError(
            f"{path} is cut short or damaged: {_one_line(e)}", "Copy or download it again"
        ) from e


def _read_torch(path: Path) -> Any:
    import torch

    allowed: list[Any] = [(Inert, name) for name in ALLOWED_GLOBALS]
    try:
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols and TorchScript; see below
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # a hostile or damaged file can end in any exception
        raise _refusal(path, str(e)) from e


def _refusal(path: Path, reason: str) -> CheckpointError:
    """The error for a file that torch's restricted unpickler would not read."""
    if named := re.search(r"GLOBAL (\S+)", reason):
        return CheckpointError(
            f"{path} is unsafe: loading it would run {named[1]}, which was not done", _SAFE_REMEDY
        )
    if "TorchScript" in reason:
        return CheckpointError(
            f"{path} is a TorchScript program, not weights", "Save the network's state_dict()"
        )
    if "Weights only load failed" in reason or "Invalid magic number" in reason:
        return CheckpointError(
            f"{path} is a pickle that cannot be read safely, and was not run", _SAFE_REMEDY
        )
    return CheckpointError(
        f"{path} is cut short or damaged: {_one_line(reason)}", "Copy or download it again"
    )


def _one_line(reason: object) -> str:
    """The first sentence of a library's message."""
    return re.split(r"\n|\. |; ", str(reason).strip(), maxsplit=1)[0][:200] or "no reason given"
