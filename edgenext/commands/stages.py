"""Stages of a folder of work, keyed by what decides them, so that nothing is done twice."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from edgenext.errors import InputError
from edgenext.schema import Record
from edgenext.schema.key import Inputs
from edgenext.schema.key import key as key
from edgenext.system.files import sha256_tree, write_bytes
from edgenext.system.progress import Progress
from edgenext.system.reading import read_file

STATE = "stages.json"

Announce = Callable[[str, bool], None]
"""Told the name of a stage, and whether it is done now or was done before."""


def silent(stage: str, needed: bool) -> None:
    """Announce nothing."""


def numbered(announce: Announce, progress: Progress) -> Announce:
    """Announce a stage, and say to a progress with steps that one begins."""

    def tell(stage: str, needed: bool) -> None:
        announce(stage, needed)
        progress(stage, 0, 0)

    return tell


class StageRecord(Record):
    """A stage that was done: the hash of its inputs, its files' sha256, how long it took."""

    key: str
    files: dict[str, str]
    seconds: float


_STATE = TypeAdapter(dict[str, StageRecord])


class Stages:
    """A folder: what was made in it, from what."""

    def __init__(self, folder: Path, announce: Announce) -> None:
        self.folder, self._announce = folder, announce
        self._done: dict[str, StageRecord] = {}
        self._state: dict[str, StageRecord] = {}
        # a damaged record costs time, not correctness
        with contextlib.suppress(InputError, ValidationError):
            self._state = _STATE.validate_json(read_file(folder / STATE))

    @property
    def seconds(self) -> dict[str, float]:
        """Wall time of each stage of this run, when it was last done."""
        return {name: entry.seconds for name, entry in self._done.items()}

    @property
    def paths(self) -> list[Path]:
        """The record and the files of every stage of this run."""
        files = [file for entry in self._done.values() for file in entry.files]
        return [self.folder / name for name in (STATE, *files)]

    def stage(self, name: str, inputs: Inputs, produce: Callable[[], Sequence[Path]]) -> list[Path]:
        """The files of a stage: made now, or found unchanged from the same inputs."""
        inputs_key = key(inputs)
        entry = self._state.get(name)
        if entry and entry.key == inputs_key and self._unchanged(entry.files):
            self._announce(name, False)
            self._done[name] = entry
            return [self.folder / file for file in entry.files]
        self._announce(name, True)
        start = time.perf_counter()
        files = list(produce())
        self._state[name] = self._done[name] = StageRecord(
            key=inputs_key,
            files={str(f.relative_to(self.folder)): sha256_tree(f) for f in files},
            seconds=round(time.perf_counter() - start, 2),
        )
        self._save()
        return files

    def forget(self, name: str) -> None:
        """Do a stage again next time, whatever its inputs."""
        if self._state.pop(name, None):
            self._save()

    def _save(self) -> None:
        write_bytes(self.folder / STATE, _STATE.dump_json(self._state, indent=2) + b"\n")

    def _unchanged(self, files: dict[str, str]) -> bool:
        try:
            return all(
                _is_inside(file)
                and (self.folder / file).exists()
                and sha256_tree(self.folder / file) == digest
                for file, digest in files.items()
            )
        except OSError:  # a name that no file can have: the record is damaged
            return False


def _is_inside(file: str) -> bool:
    """Whether a recorded path stays in its folder: the record may have been written by anybody."""
    path = Path(file)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in file
