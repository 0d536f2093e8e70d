"""Folders of runs, trainings and searches: one process at a time, and the work of one network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from edgenext.errors import InputError, OutputError
from edgenext.models.checkpoint import Checkpoint
from edgenext.schema import Record
from edgenext.system.files import write_text
from edgenext.system.locks import hold
from edgenext.system.parsing import read_record
from edgenext.system.sums import SUMS, write_sums
from edgenext.system.temporary import remove_leftovers

FILE = "network.json"
"""In a folder: whose work it holds."""


class WorkOwner(Record):
    """The network that the work in a folder is about.

    `weights` is the sha256 of those it starts from; empty if all of them are drawn anew.
    """

    arch: str
    num_classes: int
    size: int
    weights: str

    @staticmethod
    def of(checkpoint: Checkpoint, *, drawn: bool = False) -> WorkOwner:
        """The owner of a checkpoint's work; of its training, if its weights are drawn anew."""
        return WorkOwner(
            arch=checkpoint.arch,
            num_classes=checkpoint.num_classes,
            size=checkpoint.eval.size,
            weights="" if drawn else checkpoint.sha256,
        )


@contextlib.contextmanager
def work_folder(folder: Path, owner: WorkOwner) -> Iterator[None]:
    """Hold a folder for one network's work; what killed processes have left in it is removed.

    Nothing is left behind if nothing is made in it.

    Raises:
        OutputError: another process works in it, or it holds another network's work.
    """
    with hold(folder):
        remove_leftovers(folder, below=True)
        _require_same(folder, owner)
        path = folder / FILE
        if _read(path) != owner:
            write_text(path, owner.model_dump_json(indent=2) + "\n")
        try:
            yield
            if (folder / SUMS).is_file():
                write_sums(folder, [path], keep=True)
        finally:
            if not _holds_work(folder):
                path.unlink(missing_ok=True)


def _require_same(folder: Path, owner: WorkOwner) -> None:
    """Refuse the folder of another network's work.

    Raises:
        OutputError: with what differs.
    """
    other = _read(folder / FILE) if _holds_work(folder) else None
    if other is None or other == owner:
        return
    differences = {
        "architecture": (other.arch, owner.arch),
        "classes": (other.num_classes, owner.num_classes),
        "size": (f"{other.size} px", f"{owner.size} px"),
        "weights": (_short(other.weights), _short(owner.weights)),
    }
    text = ", ".join(f"{k} {a}, not {b}" for k, (a, b) in differences.items() if a != b)
    raise OutputError(
        f"{folder} holds another network's work: {text}",
        "Choose another folder with --out, or remove this one",
    )


def _short(weights: str) -> str:
    kind, _, digest = weights.rpartition(":")
    return f"{kind} {digest[:12]}…".strip() if digest else "drawn anew"


def _read(path: Path) -> WorkOwner | None:
    """The owner that a file names; None where none is named."""
    try:
        return read_record(path, WorkOwner, "the owner of a folder")
    except InputError:
        return None


def _holds_work(folder: Path) -> bool:
    """Whether a folder has anything but hidden files and the name of its owner."""
    return any(p.name != FILE and not p.name.startswith(".") for p in folder.iterdir())
