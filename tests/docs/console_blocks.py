"""The console blocks of README, CONTRIBUTING and docs/, and what `console.toml` says of them."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^(?P<indent> *)```console\n(?P<body>.*?)^(?P=indent)```", re.M | re.S)
FILE = re.compile(r'^```\w+ title="(?P<name>[^"]+)"\n(?P<body>.*?)^```', re.M | re.S)
SEPARATORS = ("&&", "||", "|", ";", ">", ">>")


@dataclass(frozen=True)
class Typed:
    """A line after a prompt: the command without its comment, and the lines that it is said to
    print."""

    page: str
    text: str
    output: tuple[str, ...]

    @property
    def parts(self) -> list[list[str]]:
        """The words of each simple command."""
        parts: list[list[str]] = [[]]
        for word in words(self.text):
            if word in SEPARATORS:
                parts.append([])
            else:
                parts[-1].append(word)
        return parts

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def words(text: str) -> list[str]:
    """The words of a line of shell, without its comment; operators are words of their own."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|&;>")
    lexer.whitespace_split = True
    return list(lexer)


@dataclass(frozen=True)
class Page:
    """What `console.toml` says of a page: what stands where in the folder that it is run in."""

    replace: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    suite: tuple[str, ...] = ()
    varies: tuple[str, ...] = ()


@cache
def table() -> dict[str, dict[str, object]]:
    """`console.toml`."""
    return tomllib.loads(Path(__file__).with_name("console.toml").read_text("utf-8"))


def page_row(page: str) -> Page:
    """The row of a page, with what holds for all."""
    rows = table()["pages"]
    common, own = rows["*"], rows.get(page, {})
    assert isinstance(common, dict) and isinstance(own, dict)
    return Page(
        replace=own.get("replace", {}) | common.get("replace", {}),
        files=common.get("files", {}) | own.get("files", {}),
        suite=tuple(own.get("suite", ())),
        varies=(*common.get("varies", ()), *own.get("varies", ())),
    )


def not_run(text: str) -> str:
    """Why a command is parsed and not run; empty if it is run."""
    for match, reason in table()["not_run"].items():
        if re.search(match, text):
            return str(reason)
    return ""


@cache
def pages() -> dict[str, tuple[Typed, ...]]:
    """What is typed on each page that has a console block, in order."""
    typed = {name: tuple(read(name, text)) for name, text in texts().items()}
    return {name: lines for name, lines in typed.items() if lines}


def files_of(page: str) -> dict[str, str]:
    """The files that a page shows whole, under their names."""
    return {block["name"]: block["body"] for block in FILE.finditer(texts()[page])}


@cache
def texts() -> dict[str, str]:
    """Every page."""
    files = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")]
    files += sorted((ROOT / "docs").rglob("*.md"))
    return {
        file.relative_to(ROOT).as_posix().removeprefix("docs/"): file.read_text("utf-8")
        for file in files
    }


def read(page: str, text: str) -> Iterator[Typed]:
    """What is typed in the console blocks of a text, in order."""
    for block in BLOCK.finditer(text):
        lines = [line.removeprefix(block["indent"]) for line in block["body"].splitlines()]
        assert lines and lines[0].startswith("$ "), f"{page}: a console block without a command"
        command: str | None = None
        output: list[str] = []
        for line in lines:
            if line.startswith("$ "):
                if command is not None:
                    yield Typed(page, _bare(command), tuple(output))
                command, output = line[2:], []
            elif command is not None and command.endswith("\\"):
                command = f"{command[:-1]}{line.strip()}"
            else:
                output.append(line)
        if command is not None:
            yield Typed(page, _bare(command), tuple(output))


def _bare(command: str) -> str:
    """A command without its comment."""
    return re.sub(r"\s+#\s.*$", "", command).strip()
