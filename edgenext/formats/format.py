"""A format: one folder with a row, `format.toml`, and the functions that the row names.

Everything the rest of the package knows about a format is derived from the rows: how its files are
recognised, what converts and runs them, the options it adds to commands, and whose compiler checks
them. Every folder with a row is a format; there is no list of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from pydantic import Field

from edgenext.errors import UsageError, unknown_name
from edgenext.options import OptionValues
from edgenext.schema import FeatureLayout, Record
from edgenext.system.packaged import packaged_folders

PACKAGE = "edgenext.formats"


class Option(Record):
    """An option that a format adds to a command.

    `flag` is its spelling on the command line, `--<name>` unless set; `old_flag` is an earlier
    spelling that still works, with a warning. A `default` of True or False makes it a switch.
    """

    default: str | bool
    help: str
    flag: str = ""
    old_flag: str = ""


class Magic(Record):
    """The bytes, in hex, that files of a format have at an offset."""

    offset: int = 0
    hex: str

    @property
    def content(self) -> bytes:
        """The bytes."""
        return bytes.fromhex(self.hex)


class Execution(Record):
    """A format that a folder's session runs, computing as a target does.

    With `on_request` it is used only if that target is requested by name.
    """

    format: str
    target: str
    on_request: bool = False


class Compiler(Record):
    """The compiler behind a folder's `check.py`: its target, the formats it takes, its options.

    `make` is the command that makes a file for it.
    """

    target: str
    formats: tuple[str, ...]
    make: str
    options: dict[str, Option] = Field(default_factory=dict)


class ParityBound(Record):
    """The least SQNR in dB of a file against the graph it was made from, and what was measured."""

    least_db: float
    measured: str


class Converter(Record):
    """What writes the files of a format, in a process of its own.

    `module` is a module of the format's folder with a function `convert`. It requires the package
    `needs`, which the extra or private environment `extra` installs (the folder's name unless
    set). It quantizes the float graph itself for the schemes in `converts`; for other schemes the
    graph comes with Q/DQ. With `samples` it gets calibration images beside a quantized graph.
    `arguments` names a function that returns further input for it. `parity` has the bounds of its
    files against the graphs they were made from, by scheme. `unsteady` says why a converter's bytes
    vary: its file is taken when two conversions have the same content.
    """

    module: str = "convert"
    needs: str = ""
    extra: str = ""
    converts: tuple[str, ...] = ()
    samples: bool = False
    arguments: str = ""
    unsteady: str = ""
    parity: dict[str, ParityBound] = Field(default_factory=dict)


class Format(Record):
    """A format's row.

    `folder` is not written in the file; `name`, the folder's unless set, is what `--format` and
    manifests say. A folder with `variant_of` writes files of that format for its own `target`.
    `session` is the folder whose `session.py` runs the files, this one unless set. With
    `any_target` the graph may be exported for every target. `graph` says that a file is an ONNX
    graph with nothing compiled in it. `companion` is the ending of a second file, `package` a file
    by which a folder is recognised. `refuses` maps unsupported schemes to the reason;
    `refuses_features` is the reason why there are no backbones, and `feature_layout` the layout of
    those that there are.

    Three entries name functions, as `folder.module:function`: `resolve` completes the options
    (`Choices` in and out), `rewrite` changes the graph of a format without a converter, `finish`
    changes a converted file before it is read back. `metadata` names a module, as `folder.module`:
    its `write(path, manifest)` lets a file say what it is, its `read(path)` gives the manifest's
    JSON back, or None. `parity` is that of a converter, for files that
    `rewrite` makes.
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
    graph: bool = False
    companion: str = ""
    package: str = ""
    magic: tuple[Magic, ...] = ()
    options: dict[str, Option] = Field(default_factory=dict)
    converter: Converter | None = None
    converters: dict[str, Converter] = Field(default_factory=dict)
    refuses: dict[str, str] = Field(default_factory=dict)
    refuses_features: str = ""
    feature_layout: FeatureLayout = "NCHW"
    runs: tuple[Execution, ...] = ()
    check: Compiler | None = None
    resolve: str = ""
    rewrite: str = ""
    finish: str = ""
    metadata: str = ""
    parity: dict[str, ParityBound] = Field(default_factory=dict)

    def converter_for(self, options: OptionValues) -> Converter | None:
        """The converter that the options select; None if the ONNX graph itself is the file.

        Raises:
            UsageError: unknown converter.
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
    """What a user chose for a format, which its `resolve` completes.

    An empty `form` and an `opset` of None are undecided. `opset_limit` is the newest opset the
    format takes, `pixels` whether the file takes N×H×W×3 uint8 pixels, `integer_io` whether its
    input and output are integers, `batch` the images a call, None for any number.
    """

    options: OptionValues
    form: str = ""
    opset: int | None = None
    opset_limit: int | None = None
    pixels: bool = False
    integer_io: bool = False
    batch: int | None = 1


def _rows() -> tuple[Format, ...]:
    rows = packaged_folders(PACKAGE, "format.toml")
    return tuple(
        Format(**{"folder": folder, "name": values.get("variant_of", folder), **values})
        for folder, values in rows.items()
    )


ROWS = _rows()
"""The rows of all folders."""

FORMATS = {row.name: row for row in ROWS if not row.variant_of}
"""Formats by name."""


def require_format(name: str, target: str = "") -> Format:
    """The row of a format; of its variant for a target, if it has one.

    Raises:
        UsageError: unknown format; the nearest names are suggested.
    """
    if name not in FORMATS:
        raise unknown_name("format", name, FORMATS)
    base = FORMATS[name]
    for row in ROWS:
        if row.variant_of == name and row.target == target:
            inherited = {
                "ending": base.ending,
                "session": base.session or base.folder,
                "metadata": base.metadata,
            }
            return row.model_copy(update=inherited)
    return base


def require_scheme(name: str, scheme: str, target: str = "") -> None:
    """Refuse a scheme that a format does not support, for a target.

    Raises:
        UsageError: with the reason in the format's row.
    """
    row = require_format(name, target)
    if scheme in row.refuses:
        place = f" for {target}" if row.variant_of else ""
        raise UsageError(f"{name}{place} does not support {scheme}: {row.refuses[scheme]}")


def require_features(row: Format) -> None:
    """Refuse a backbone in a format without them.

    Raises:
        UsageError: with the reason in the format's row.
    """
    if row.refuses_features:
        place = f" for {row.target}" if row.variant_of else ""
        raise UsageError(f"{row.name}{place} has no backbones: {row.refuses_features}")


def function_of(name: str) -> Callable[..., Any]:
    """The function that a row names as `folder.module:function`."""
    module, _, attribute = name.partition(":")
    function: Callable[..., Any] = getattr(import_module(f"{PACKAGE}.{module}"), attribute)
    return function


def command_options(command: str) -> dict[str, tuple[str, Option]]:
    """The options that formats add to `export` or `check`: name → title of the format, option."""
    result: dict[str, tuple[str, Option]] = {}
    for row in ROWS:
        options: Mapping[str, Option] = row.options
        if command == "check":
            options = row.check.options if row.check else {}
        for name, option in options.items():
            result.setdefault(name, (row.title, option))
    return result
