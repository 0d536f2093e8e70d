"""What `edgenext verify` finds."""

from __future__ import annotations

from pydantic import Field

from edgenext.schema.base import Record


class HashProblem(Record):
    """A file that is not what a record says.

    `by` is the record: a manifest, `SHA256SUMS`, `stages.json`, `run.json`. `problem` is a phrase
    that follows the file's name, `actual` and `expected` are hex sha256, empty where something
    other than a hash differs. All names are relative to the folder that was verified.
    """

    file: str
    by: str
    problem: str
    actual: str = ""
    expected: str = ""


class Rebuild(Record):
    """A file that was made again from what its manifest says.

    `same` is whether every byte is equal; `differs` are the files, or the fields of the manifest,
    that are not. `tools` are the tools whose version is another now: name → (then, now).
    """

    same: bool
    differs: tuple[str, ...] = ()
    tools: dict[str, tuple[str, str]] = Field(default_factory=dict)
    seconds: float = 0.0


class VerifyReport(Record):
    """`verify --json`.

    `hashes` is how many were compared, `files` how many files they are of. `uncovered` are files
    of which no record has a hash, `notes` what could not be checked and what to give for it.
    """

    subject: str
    kind: str
    """`artifact`, `package`, `folder`, `results` or `file`."""
    hashes: int
    files: int
    problems: tuple[HashProblem, ...] = ()
    uncovered: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    rebuild: Rebuild | None = None

    @property
    def sound(self) -> bool:
        """Whether everything that was checked is as its records say."""
        return not self.problems and (self.rebuild is None or self.rebuild.same)
