"""A format: one folder with a row, `format.toml`, and the functions the row names.

Everything that the rest of the package knows of a format is derived from the rows: which files it
is recognised by, what converts and runs it, the options it adds to commands, and whose compiler
can check it. Folders are found by listing them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pydantic import Field

from edgenext.errors import UsageError, unknown_name
from edgenext.options import OptionValues
from edgenext.schema import Record
from edgenext.system.packaged import packaged_folders

PACKAGE = "edgenext.formats"


class Option(Record):
    """An option that a format adds to a command.

    `flag` is its spelling on the command line, `--<name>` unless given; `old_flag` an earlier
    spelling that still works, with a warning. A `default` of True or False makes it a switch.
    """

    default: str | bool
    help: str
    flag: str = ""
    old_flag: str = ""


class Magic(Record):
    """Bytes that files of a format have at an offset, in hex."""

    offset: int = 0
    hex: str

    @property
    def content(self) -> bytes:
        """The bytes."""
        return bytes.fromhex(self.hex)


class Execution(Record):
    """Files that a folder's session computes as a target does.

    With `on_request` it is used only where the target's runtime is asked for by name.
    """

    format: str
    target: str
    on_request: bool = False


class Check(Record):
    """The compiler that `check.py` asks: of which target, which formats it takes, its options.

    `make` is the command that makes a file for it.
    """

    target: str
    formats: tuple[str, ...]
    make: str
    options: dict[str, Option] = Field(default_factory=dict)


class Converter(Record):
    """What writes the files, in a process of its own.

    `module` has a function `convert` and lies in the format's folder. It cannot do without the
    package `needs`; `extra` is the extra or private environment that brings it, where that has
    another name than the format. It makes the schemes in `converts` itself from the float graph;
    the others come to it as Q/DQ in the graph. With `samples` it is given calibration images
    beside a quantized graph. `arguments` names a function that gives it more than the graph does.
    """

    module: str = "convert"
    needs: str = ""
    extra: str = ""
    converts: tuple[str, ...] = ()
    samples: bool = False
    arguments: str = ""


class Format(Record):
    """A format's row.

    `folder` is found, not written; `name` is the folder's unless given, and is what `--format` and
    manifests say. A folder with `variant_of` writes files of that format for its own `target`. `session` is the folder whose `session.py` runs the files, the format's own
    unless given. With `any_target` its graph may be made for every target. `companion` is the
    ending of a second file, `package` a file by which a folder is recognised. `refuses` says why
    a scheme is not made.

    `resolve`, `rewrite` and `finish` name functions as `folder.module:function`: what the options
    decide (`Choices` in and out), what is done to the graph of a format without a converter, and
    what is done to a converted file before it is read back.
    """

    folder: str
    name: str
    title: str
    about: str
    target: str
    ending: str = ""
    variant_of: str = ""
    session: str = ""
    any_target: bool = False
    companion: str = ""
    package: str = ""
    magic: tuple[Magic, ...] = ()
    options: dict[str, Option] = Field(default_factory=dict)
    converter: Converter | None = None
    converters: dict[str, Converter] = Field(default_factory=dict)
    refuses: dict[str, str] = Field(default_factory=dict)
    runs: tuple[Execution, ...] = ()
    check: Check | None = None
    resolve: str = ""
    rewrite: str = ""
    finish: str = ""

    def converter_for(self, options: OptionValues) -> Converter | None:
        """The converter that the options choose; None where the graph is the file.

        Raises:
            UsageError: no such converter.
        """
        default = self.options.get("converter")
        name = options.get("converter", default.default if default else None)
        if default is None or name == default.default:
            return self.converter
        if name not in self.converters:
            raise unknown_name("converter", str(name), [str(default.default), *self.converters])
        return self.converters[str(name)]


@dataclass(frozen=True)
class Choices:
    """What a user chose of a format, for its `resolve` to decide.

    An empty `form` and an `opset` of None are not decided yet. `opset_limit` is the newest opset
    the format takes, `pixels` whether the file takes N×H×W×3 pixels, `integer_io` whether it
    takes and gives integers.
    """

    options: OptionValues
    form: str = ""
    opset: int | None = None
    opset_limit: int | None = None
    pixels: bool = False
    integer_io: bool = False


def _rows() -> tuple[Format, ...]:
    rows = packaged_folders(PACKAGE, "format.toml")
    return tuple(
        Format(**{"folder": folder, "name": values.get("variant_of", folder), **values})
        for folder, values in rows.items()
    )


ROWS = _rows()
"""Every folder's row."""

FORMATS = {row.name: row for row in ROWS if not row.variant_of}
"""Formats by name."""


def require_format(name: str, target: str = "") -> Format:
    """A format by name, as it is written for a target.

    Raises:
        UsageError: no such format; the nearest names are suggested.
    """
    if name not in FORMATS:
        raise unknown_name("format", name, FORMATS)
    base = FORMATS[name]
    for row in ROWS:
        if row.variant_of == name and row.target == target:
            inherited = {"ending": base.ending, "session": base.session or base.folder}
            return row.model_copy(update=inherited)
    return base


def require_scheme(name: str, scheme: str, target: str = "") -> None:
    """Refuse a scheme that a format is not made in, for a target.

    Raises:
        UsageError: the format's row says why.
    """
    row = require_format(name, target)
    if scheme in row.refuses:
        place = f" for {target}" if row.variant_of else ""
        raise UsageError(f"{name}{place} cannot be {scheme}: {row.refuses[scheme]}")


def function_of(name: str) -> Callable[..., Any]:
    """A function that a row names, `folder.module:function`."""
    module, _, attribute = name.partition(":")
    function: Callable[..., Any] = getattr(import_module(f"{PACKAGE}.{module}"), attribute)
    return function


def command_options(command: str) -> dict[str, tuple[str, Option]]:
    """The options that formats add to `export` or `check`: name → title of the format, option."""
    found: dict[str, tuple[str, Option]] = {}
    for row in ROWS:
        options: Mapping[str, Option] = row.options
        if command == "check":
            options = row.check.options if row.check else {}
        for name, option in options.items():
            found.setdefault(name, (row.title, option))
    return found
