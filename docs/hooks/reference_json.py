"""The reference of everything written as JSON, from the records of `edgenext.schema`."""

from __future__ import annotations

import json
import re
import tomllib
import typing
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import griffe
from pagetext import code, joined, table
from pydantic_core import PydanticUndefined

from edgenext import schema
from edgenext.schema import Record

PAGE = "json.md"


@cache
def outputs() -> dict[str, dict[str, list[str]]]:
    """`commands` and `files` → the records that they write, from `outputs.toml`."""
    return tomllib.loads(Path(__file__).with_name("outputs.toml").read_text("utf-8"))


def of_command(name: str) -> list[str]:
    """The records that a command prints with `--json`."""
    return outputs()["commands"].get(name, [])


def link(record: str) -> str:
    """A link to a record from a page beside its own; `[X]` is a list of X."""
    name = record.strip("[]")
    text = f"[`{name}`]({PAGE}#{name.lower()})"
    return f"a list of {text}" if record != name else text


def page() -> str:
    """Which command and file has which record, and every record's fields."""
    commands, files = (
        [(code(name), " or ".join(map(_here, records))) for name, records in rows.items()]
        for rows in (outputs()["commands"], outputs()["files"])
    )
    names = sorted(_reached(), key=str.lower)
    return joined(
        "# JSON outputs",
        "What `--json` prints is stable: fields are added, never renamed or removed, and never "
        "become another type. Units are in names: `*_ms` are milliseconds, `*_mb` MiB, `*_db` "
        "decibels. Accuracies are in percent, drops in points. There is no NaN and no infinity. "
        "A field that is not required may be missing in files of an earlier version, and then has "
        "its default.",
        "## Commands",
        table(("Command with `--json`", "Record"), commands),
        "## Files",
        table(("File", "Record"), files),
        "## Records",
        *(part for name in names for part in _record(getattr(schema, name))),
    )


def _here(record: str) -> str:
    return link(record).replace(PAGE, "")


@cache
def _reached() -> frozenset[str]:
    """The names of all records that an output holds, at any depth."""
    rows = (names for kind in outputs().values() for names in kind.values())
    waiting = [name.strip("[]") for names in rows for name in names]
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            fields = getattr(schema, name).model_fields.values()
            waiting += [record for f in fields for record in _records_in(f.annotation)]
    return frozenset(reached)


def _records_in(annotation: Any) -> Iterator[str]:
    if isinstance(annotation, type) and issubclass(annotation, Record):
        yield annotation.__name__
    for inner in typing.get_args(annotation):
        yield from _records_in(inner)


def _record(record: type[Record]) -> Iterator[str]:
    yield f"### {record.__name__}"
    yield (record.__doc__ and _text(record.__doc__)) or ""
    documented = fields_documented(record)
    rows = [
        (
            code(name),
            _linked(documented[name].annotation),
            "" if field.default in (PydanticUndefined, None) else code(_default(field.default)),
            documented[name].text,
        )
        for name, field in record.model_fields.items()
    ]
    yield table(("Field", "Type", "Default", ""), rows)


class FieldText(typing.NamedTuple):
    """A field's annotation as it is written in the code, and the docstring below it."""

    annotation: str
    text: str


@cache
def _source(module: str) -> Any:
    """A module of records as it is written, with docstrings below fields."""
    file = (Path(__file__).parents[2] / module.replace(".", "/")).with_suffix(".py")
    return griffe.visit(module, file, file.read_text("utf-8"))


def fields_documented(record: type[Record]) -> dict[str, FieldText]:
    """The fields of a record, those of its bases too."""
    fields: dict[str, FieldText] = {}
    for base in reversed(record.__mro__):
        if base.__module__.startswith("edgenext.schema."):
            for name, member in _source(base.__module__)[base.__qualname__].members.items():
                if member.is_attribute:
                    text = member.docstring.value if member.docstring else ""
                    fields[name] = FieldText(str(member.annotation or ""), _text(text))
    return fields


def _text(docstring: str) -> str:
    """A docstring as one paragraph, or several."""
    paragraphs: Iterable[str] = docstring.strip().split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


NAMES = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "true or false",
    "None": "null",
}
"""Types of Python → of JSON."""


def _linked(annotation: str) -> str:
    """A type in JSON's words, with links to the records in it."""
    shown = re.sub(r"dict\[str, (.+)\]", r"object of \1", annotation)
    shown = re.sub(r"dict\[str, (.+)\]", r"object of \1", shown)
    shown = re.sub(r"tuple\[([\w| ]+), \.\.\.\]", r"list of \1", shown)
    shown = re.sub(r"tuple\[([^\[\]]+)\]", r"list: \1", shown)
    shown = re.sub(r"Annotated\[(\w+),.*\]", r"\1", shown)
    shown = re.sub(r"Literal\[(.+)\]", r"\1", shown).replace(" | ", " or ")
    return "".join(map(_word, re.split(r"(\w+)", shown)))


def _word(part: str) -> str:
    """A word of a type; a link if it is a record, its values if it is one of a few strings."""
    if part in _reached():
        return _here(part)
    values = typing.get_args(getattr(schema, part, None)) if part.isidentifier() else ()
    if values:
        return ", ".join(code(json.dumps(value)) for value in values)
    return NAMES.get(part, part)


def _default(value: object) -> str:
    if isinstance(value, Record):
        return f"{type(value).__name__}()"
    return json.dumps(value, default=str)
