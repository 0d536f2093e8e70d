"""The reference of the command line, from the commands themselves."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Any

import reference_json
import typer.main
from pagetext import code, joined, table

from edgenext.cli.app import app
from edgenext.cli.group import PANELS, HelpedCommand, command, examples, listed

FOLDER = "reference/cli"
INDEX = f"{FOLDER}/index.md"


def paths() -> dict[str, str]:
    """Each command's page, by its path → its name."""
    return {f"{FOLDER}/{name}.md": name for name in listed()}


def pages() -> list[dict[str, str]]:
    """The pages as entries of the navigation."""
    return [{name: path} for path, name in paths().items()]


def index() -> str:
    """All commands, in groups, and the options that every one takes."""
    grouped = {name for names in PANELS.values() for name in names}
    panels = {
        panel: [name for name in names if name in listed()] for panel, names in PANELS.items()
    }
    panels["Others"] = [name for name in listed() if name not in grouped]
    groups = [
        part
        for panel, names in panels.items()
        if names
        for part in (
            f"## {panel}",
            table(("Command", ""), ((_link(name), listed()[name].summary) for name in names)),
        )
    ]
    root = typer.main.get_command(app)
    context = root.make_context("edgenext", [], resilient_parsing=True)
    return joined(
        "# Command line",
        "`edgenext COMMAND`. Options of `edgenext` itself stand in front of the command. Results "
        "go to stdout, everything else to stderr; the [exit code](../exit-codes.md) says what kind "
        "of failure it was. `edgenext COMMAND -h` shows the same as these pages.",
        *groups,
        "## Options of every command",
        *_options(root, context),
    )


def _link(name: str) -> str:
    return f"[`{name}`]({name}.md)"


def page(name: str) -> str:
    """A command: what it does, examples, arguments, options."""
    top = command(name)
    inner = getattr(top, "commands", {})
    if not inner:
        return joined(f"# edgenext {name}", *_command(name, top, "##"))
    parts = [f"# edgenext {name}", _description(top)]
    for sub, part in inner.items():
        parts += [f"## {name} {sub}", *_command(f"{name} {sub}", part, "###")]
    return joined(*parts)


def _command(name: str, parsed: Any, heading: str) -> Iterator[str]:
    context = parsed.make_context(name, [], resilient_parsing=True)
    yield _description(parsed)
    lines = examples().get(name, ())
    if lines:
        yield "```console\n" + "".join(f"$ {line}\n" for line in lines) + "```"
    pieces = " ".join(parsed.collect_usage_pieces(context))
    yield f"```text\nedgenext {name} {pieces}\n```"
    yield from _options(parsed, context, heading)
    if reference_json.of_command(name):
        records = " or ".join(map(reference_json.link, reference_json.of_command(name)))
        yield f"{heading} JSON"
        yield f"`--json` prints {records.replace('](', '](../')}."


def _description(parsed: Any) -> str:
    return inspect.cleandoc(parsed.help or "").replace("\f", "")


class Sections:
    """What a command writes of its options into its help: panels of rows."""

    def __init__(self) -> None:
        self.panels: dict[str, list[tuple[str, str]]] = {}

    @contextlib.contextmanager
    def section(self, name: str) -> Iterator[None]:
        """The panel that the next rows are of."""
        self._rows = self.panels.setdefault(name, [])
        yield

    def write_dl(self, rows: Sequence[tuple[str, str]], **_: object) -> None:
        """Rows of a spelling and a text."""
        self._rows += rows


def _options(parsed: Any, context: Any, heading: str = "") -> Iterator[str]:
    """A table for each panel of the help, under a heading if one is given."""
    parameters = {
        spelling: parameter
        for parameter in parsed.get_params(context)
        for spelling in parameter.opts
    }
    sections = Sections()
    HelpedCommand.format_options(parsed, context, sections)
    for panel, records in sections.panels.items():
        rows = [_row(parameters.get(re.split("[ ,]", r[0])[0]), context, *r) for r in records]
        if heading:
            yield f"{heading} {panel}"
        name = "Argument" if panel == "Arguments" else "Option"
        has_defaults = any(default for *_, default in rows)
        columns = (name, "", "Default")[: 3 if has_defaults else 2]
        yield table(columns, (row[: len(columns)] for row in rows))


def _row(parameter: Any, context: Any, usage: str, text: str) -> tuple[str, str, str]:
    """An argument or option: its spelling, what it does with its choices, its default."""
    noted = re.search(r"\s*\[(?P<notes>[^\[\]]*)\]$", text)
    notes = noted["notes"].split("; ") if noted else []
    text = text[: noted.start()] if noted else text
    text = text if not text or text.endswith((".", ":")) else f"{text}."
    values = parameter.shell_complete(context, "") if parameter else ()
    choices = [item.value for item in values if item.value not in text]
    if choices:
        text += f" One of {', '.join(map(code, choices))}."
    limits = [note for note in notes if "<" in note or ">" in note]
    if limits:
        text += f" {' and '.join(map(_limit, limits))}."
    defaults = (note.partition("default: ")[2] for note in notes if note.startswith("default: "))
    default = "required" if "required" in notes else "".join(map(code, defaults))
    return code(usage.strip("{}[]")), text, default


def _limit(note: str) -> str:
    """A limit such as `x>=0` in words."""
    signs = {"<=x<=": " to ", "x>=": "At least ", "x<=": "At most ", "x>": "Above ", "x<": "Below "}
    for sign, words in signs.items():
        note = note.replace(sign, words)
    return note
