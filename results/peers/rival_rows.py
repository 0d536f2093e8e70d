"""The rows of rivals.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True)
class RivalFile:
    """A `[[file]]` of rivals.toml, whose header explains the fields."""

    name: str
    title: str
    tool: str
    make: str
    format: str
    target: str = ""
    environment: str = ""
    runtime: str = ""
    beside: str = ""
    float: bool = False
    timed: bool = True
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        """Whether this package made it, with all that it does to a network."""
        return not self.beside


@dataclass(frozen=True)
class RivalTable:
    """All of rivals.toml; `why` has the reasons by file and measure."""

    files: tuple[RivalFile, ...]
    environments: dict[str, list[str]]
    absent: dict[str, str]
    why: dict[str, dict[str, str]]

    def only(self, names: Collection[str]) -> tuple[RivalFile, ...]:
        """The files of these names; all where none is given.

        Raises:
            SystemExit: a name that rivals.toml does not have.
        """
        if unknown := set(names) - {file.name for file in self.files}:
            raise SystemExit(f"rivals.toml has no file {', '.join(sorted(unknown))}")
        return tuple(file for file in self.files if not names or file.name in names)


def read_rivals(folder: Path = HERE) -> RivalTable:
    """The contents of rivals.toml."""
    document = tomllib.loads((folder / "rivals.toml").read_text("utf-8"))
    return RivalTable(
        files=tuple(RivalFile(**row) for row in document["file"]),
        environments=document["environments"],
        absent=document.get("absent", {}),
        why=document.get("why", {}),
    )
