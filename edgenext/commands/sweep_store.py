"""The folder of a sweep: trees of files by content, records by the key of what decides them."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from edgenext.errors import InputError
from edgenext.formats.artifact import Artifact, open_artifact
from edgenext.schema import MadeArtifact, Record, TreeFile
from edgenext.system.files import write_text
from edgenext.system.jobs.job import Outcome
from edgenext.system.parsing import read_record
from edgenext.system.reading import read_file
from edgenext.system.trees import TreeStore

R = TypeVar("R", bound=Record)

FILES, RECORDS = "files", "records"
"""Names of the folders."""


class SweepStore:
    """What was done of a sweep, and of every other one in the same folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trees = TreeStore(folder / FILES)
        self._opened: dict[TreeFile, Artifact] = {}

    def read(self, key: str, kind: type[R]) -> R | None:
        """The record of a key; None where there is none, or it is damaged, or its file is."""
        try:
            record = read_record(self._path(key), kind, "a record of a sweep")
        except InputError:
            return None
        tree = getattr(record, "tree", "")
        return record if not tree or self.trees.find(tree) else None

    def write(self, outcome: Outcome, kind: type[Record]) -> None:
        """Keep what a job gave.

        Raises:
            OutputError: it cannot be written.
        """
        worked = {name: getattr(outcome, name) for name in ("worker", "started", "ended")}
        fields = {**(outcome.result or {}), "worked": worked}
        if outcome.files:
            fields["tree"] = self.trees.add(outcome.files)
        record = kind.model_validate(fields)
        write_text(self._path(outcome.key), record.model_dump_json() + "\n")

    def add_file(self, path: Path, *others: Path) -> TreeFile:
        """Keep a file in a tree with others, of which those that do not exist are left out.

        Raises:
            InputError: it cannot be read.
            OutputError: it cannot be written.
        """
        files = (path, *(other for other in others if other.is_file()))
        tree = self.trees.add({file.name: read_file(file, limit=1 << 36) for file in files})
        return TreeFile(tree=tree, file=path.name)

    def path(self, file: TreeFile) -> Path:
        """Where a file is."""
        return self.trees.root / file.tree / file.file

    def artifact(self, record: MadeArtifact) -> Artifact:
        """An artifact that was made, opened once.

        Raises:
            ArtifactError: it is damaged.
        """
        file = record.tree_file
        if file not in self._opened:
            self._opened[file] = open_artifact(self.path(file))
        return self._opened[file]

    def _path(self, key: str) -> Path:
        return self.folder / RECORDS / key[:2] / f"{key}.json"
