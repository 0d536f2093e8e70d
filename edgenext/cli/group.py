"""The commands: found by listing this folder, imported when used, grouped in the help.

A file with `@app.command` is a command, one with `app.add_typer` a group of commands. The help of
the application reads what each does without importing it, which would take a second.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module, resources
from typing import Any

import typer
import typer.core
import typer.main

PACKAGE = "edgenext.cli"

PANELS = {
    "Start": ("demo", "run", "sweep", "predict", "package"),
    "Make": ("train", "export", "quantize", "search", "stress", "adopt"),
    "Judge": ("eval", "compare", "bench", "report"),
    "Understand": ("diff", "sensitivity", "profile", "check", "verify"),
    "Set up": ("doctor", "models", "fetch", "devices", "env"),
}
"""The commands by what they are for, in the order of the help; others stand under `OTHERS`."""
OTHERS = "Others"

SETTINGS = {"help_option_names": ["-h", "--help"]}

OPTION_PANELS = {
    "Model": (
        *("weights", "random_weights", "weight_seed", "num_classes", "reset_head", "size"),
        *("crop_pct", "exif", "labels"),
    ),
    "Calibration": ("calib", "n", "recipe"),
    "Output": ("out", "json"),
    "Continuous integration": ("fail_if", "junit", "csv", "parquet"),
}
"""Headings of options that many commands share; others stand under Options."""


@dataclass(frozen=True)
class Listed:
    """A command that has not been imported: its module, and the first line of its help."""

    module: str
    summary: str


@cache
def listed() -> dict[str, Listed]:
    """All commands by name, in the order of the panels."""
    commands: dict[str, Listed] = {}
    for file in resources.files(PACKAGE).iterdir():
        if file.name.endswith(".py"):
            module = f"{PACKAGE}.{file.name.removesuffix('.py')}"
            tree = ast.parse(file.read_text("utf-8"))
            commands |= {name: Listed(module, text) for name, text in _commands(tree)}
    order = [name for names in PANELS.values() for name in names if name in commands]
    return {name: commands[name] for name in [*order, *sorted(commands.keys() - set(order))]}


def _commands(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The name and summary of each command that a module adds to the application."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            for call in filter(_is_command, node.decorator_list):
                name = _keywords(call).get("name", node.name)
                yield name.replace("_", "-"), _first_line(ast.get_docstring(node))
        elif isinstance(node, ast.Expr) and _calls_app(node.value, "add_typer"):
            yield _keywords(node.value)["name"], _first_line(ast.get_docstring(tree))


def _is_command(node: ast.expr) -> bool:
    return _calls_app(node, "command")


def _calls_app(node: ast.expr, method: str) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func) == f"app.{method}"


def _keywords(call: ast.expr) -> dict[str, str]:
    keywords = call.keywords if isinstance(call, ast.Call) else []
    return {
        k.arg: str(k.value.value) for k in keywords if k.arg and isinstance(k.value, ast.Constant)
    }


def _first_line(docstring: str | None) -> str:
    return (docstring or "").partition("\n\n")[0].replace("\n", " ")


@cache
def examples() -> dict[str, tuple[str, ...]]:
    """Command lines by command, from `examples.toml`."""
    text = resources.files(PACKAGE).joinpath("examples.toml").read_text("utf-8")
    return {name: tuple(lines) for name, lines in tomllib.loads(text).items()}


@cache
def command(name: str) -> Any:
    """A command or group by name, imported."""
    from edgenext.cli.app import app

    module = import_module(listed()[name].module)
    for group in app.registered_groups:
        if group.name == name and group.typer_instance:
            group.cls = group.typer_instance.info.cls = HelpedGroup
            for info in group.typer_instance.registered_commands:
                info.cls, info.context_settings = HelpedCommand, SETTINGS
            return typer.main.get_group_from_info(
                group,
                pretty_exceptions_short=False,
                suggest_commands=True,
                rich_markup_mode=None,
            )
    info = next(
        info
        for info in app.registered_commands
        if info.callback and info.callback.__module__ == module.__name__
    )
    info.cls, info.context_settings = HelpedCommand, SETTINGS
    return typer.main.get_command_from_info(
        info, pretty_exceptions_short=False, rich_markup_mode=None
    )


class HelpedCommand(typer.core.TyperCommand):
    """A command whose help has examples first, and its options in panels."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The parts of the usage line, without braces around what is required."""
        pieces = (re.sub("[{}]", "", piece) for piece in super().collect_usage_pieces(ctx))
        return [re.sub(r"\.\.\.(\]?)\.\.\.", r"...\1", piece) for piece in pieces]

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """The description, then examples as they are typed."""
        super().format_help_text(ctx, formatter)
        lines = examples().get(ctx.command_path.removeprefix("edgenext "), ())
        if lines:
            with formatter.section("Examples"):
                for line in lines:
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, options, and the options of each panel."""
        panels: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        parameters = self.get_params(ctx)
        names = {parameter.name for parameter in parameters}
        for parameter in parameters:
            record = parameter.get_help_record(ctx)
            if record is not None:
                flags = re.sub(r" <(.*)>", partial(_value, parameter), record[0])
                panels.setdefault(_panel(parameter, names), []).append((flags, record[1]))
        for panel, records in panels.items():
            if records:
                with formatter.section(panel):
                    formatter.write_dl(records)


def _panel(parameter: Any, names: set[str]) -> str:
    """The heading under which the help shows an argument or option."""
    if parameter.param_type_name == "argument":
        return "Arguments"
    if parameter.name == "n" and "calib" not in names:  # -n counts something else
        return "Options"
    shared = (panel for panel, members in OPTION_PANELS.items() if parameter.name in members)
    return getattr(parameter, "rich_help_panel", None) or next(shared, "Options")


def _value(parameter: Any, kind: re.Match[str]) -> str:
    """What stands for an option's value: a number, a path, or what the option is called."""
    if parameter.param_type_name == "argument":
        return ""
    if "int" in kind[1] or "float" in kind[1]:
        return " N"
    if kind[1] in ("path", "file", "dir"):
        return " PATH"
    return " " + str(parameter.name).upper().replace("_", "-")


class HelpedGroup(typer.core.TyperGroup):
    """A group that suggests the nearest of its commands."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is named first.

        Raises:
            UsageError: there is none of that name.
        """
        names = self.list_commands(ctx)
        if args and not args[0].startswith("-") and args[0] not in names:
            from edgenext.errors import unknown_name

            raise unknown_name("command", args[0], names)
        return super().resolve_command(ctx, args)


class CommandGroup(HelpedGroup):
    """The commands of this folder."""

    def list_commands(self, _: Any) -> list[str]:
        """Their names, in the order of the panels."""
        return list(listed())

    def get_command(self, _: Any, cmd_name: str) -> Any:
        """A command by name, imported; None if there is none."""
        return command(cmd_name) if cmd_name in listed() else None

    def format_commands(self, _: Any, formatter: Any) -> None:
        """What each command does, by panel."""
        panels = {name: panel for panel, names in PANELS.items() for name in names}
        rows: dict[str, list[tuple[str, str]]] = {}
        for name, entry in listed().items():
            rows.setdefault(panels.get(name, OTHERS), []).append((name, entry.summary))
        width = max(map(len, listed())) + 2
        for panel, lines in rows.items():
            with formatter.section(panel):
                formatter.write_dl(
                    [(f"{name:{width}}", text) for name, text in lines], col_spacing=0
                )
