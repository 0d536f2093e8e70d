"""JSON and TOML of a user or a device: values and records.

Both are limited in size and depth, and have no NaN, no infinity, no integer above 64 bits and no
NUL; whatever else they contain ends in one clean error.
"""

from __future__ import annotations

import math
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from edgenext.errors import EdgenextError, InputError
from edgenext.system.reading import read_file, read_text, readable, reason, size_text

TOML_BYTES, TOML_LINE = 1 << 18, 2000
"""The largest TOML, and its longest line: tomllib is quadratic in the length of a dotted key."""
INTEGER_BITS = 63

M = TypeVar("M", bound=BaseModel)


def parse_json(data: bytes | str) -> Any:
    """The value of a JSON text in UTF-8.

    Raises:
        ValueError: it is not JSON, or is nested too deeply, or has a NaN, an infinity, an integer
            above 64 bits or a NUL.
    """
    data = data.encode(errors="replace") if isinstance(data, str) else data
    value = from_json(data.removeprefix(b"\xef\xbb\xbf"))  # NaN is refused with its name, below
    _check_values(value)
    return value


def _check_values(value: Any) -> None:
    """Refuse values of JSON or TOML that no file of ours has; see `parse_json`."""
    pending = [value]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            pending += value.keys()
            pending += value.values()
        elif isinstance(value, list):
            pending += value
        elif isinstance(value, float):
            if not math.isfinite(value):
                raise ValueError(f"it has {value} instead of a finite number")
        elif isinstance(value, int):
            if not -(1 << INTEGER_BITS) <= value < 1 << INTEGER_BITS:
                raise ValueError("it has an integer of more than 64 bits")
        elif isinstance(value, str) and "\0" in value:
            raise ValueError("it has a NUL character in a text")


def read_json(path: Path, error: type[EdgenextError] = InputError, remedy: str = "") -> Any:
    """The value of a JSON file.

    Raises:
        EdgenextError: of class `error`: see `read_file` and `parse_json`.
    """
    data = read_file(path, error)
    try:
        return parse_json(data)
    except ValueError as e:
        raise error(f"{readable(path)} is not JSON: {reason(e)}", remedy) from e


def parse_record(
    data: bytes | str,
    model: type[M],
    source: object,
    *,
    error: type[EdgenextError] = InputError,
    remedy: str = "",
    strict: bool = False,
) -> M:
    """A record from JSON.

    Args:
        data: the JSON text, in UTF-8.
        model: the record's type.
        source: what the message says is unusable, such as "x.json is not a manifest".
        error: the class of the error.
        remedy: of the error.
        strict: whether values must have the exact type.

    Raises:
        EdgenextError: of class `error`: it is not JSON (see `parse_json`) or not such a record; the
            message names the field.
    """
    try:
        parse_json(data)
        return model.model_validate_json(data, strict=strict)
    except ValidationError as e:
        raise error(f"{source}: {first_error(e)}", remedy) from e
    except ValueError as e:
        raise error(f"{source}: {reason(e)}", remedy) from e


def read_record(
    path: Path,
    model: type[M],
    kind: str,
    *,
    error: type[EdgenextError] = InputError,
    remedy: str = "",
    strict: bool = False,
    version: int | None = None,
) -> M:
    """A record from a JSON file.

    Args:
        path: of the file.
        model: the record's type.
        kind: what the file should be, such as "a manifest".
        error: the class of the error.
        remedy: of the error.
        strict: whether values must have the exact type.
        version: the `schema_version` that the record must have; None for any.

    Raises:
        EdgenextError: of class `error`: see `read_file` and `parse_record`; or it is of another
            schema version.
    """
    source = f"{readable(path)} is not {kind}"
    data = read_file(path, error)
    if version is not None:
        _require_version(data, version, path, error)
    return parse_record(data, model, source, error=error, remedy=remedy, strict=strict)


def _require_version(data: bytes, version: int, path: Path, error: type[EdgenextError]) -> None:
    """Refuse another schema version before its unknown fields are reported."""
    try:
        value = parse_json(data)
    except ValueError:
        return  # reported by `parse_record`
    actual = value.get("schema_version", version) if isinstance(value, dict) else version
    if actual != version:
        raise error(
            f"{readable(path)} has schema version {str(actual)[:20]}; this program reads version "
            f"{version}",
            "Use the version of edgenext that wrote it",
        )


def first_error(error: ValidationError) -> str:
    """The first of pydantic's errors, with the field it is about, on one line."""
    first = error.errors(include_url=False)[0]
    location = ".".join(str(part)[:80] for part in first["loc"])
    return " ".join((f"{location}: {first['msg']}" if location else first["msg"]).split())


def parse_toml(text: str, source: object, error: type[EdgenextError] = InputError) -> Any:
    """The tables of a TOML text.

    Args:
        text: the TOML.
        source: what the message says is not TOML.
        error: the class of the error.

    Raises:
        EdgenextError: of class `error`: it is not TOML, too large or nested too deeply, or has a
            value that `parse_json` refuses too.
    """
    if len(text) > TOML_BYTES or any(len(line) > TOML_LINE for line in text.splitlines()):
        raise error(
            f"{source} is not TOML: it is larger than {size_text(TOML_BYTES)}, or has a line of "
            f"more than {TOML_LINE} characters"
        )
    try:
        values = tomllib.loads(text)
    except RecursionError as e:
        raise error(f"{source} is not TOML: it is nested too deeply") from e
    except ValueError as e:
        raise error(f"{source} is not TOML: {reason(e)}") from e
    try:
        _check_values(values)
    except ValueError as e:
        raise error(f"{source} cannot be used: {reason(e)}") from e
    return values


def read_toml(path: Path, error: type[EdgenextError] = InputError) -> Any:
    """The tables of a TOML file.

    Raises:
        EdgenextError: of class `error`: see `read_text` and `parse_toml`.
    """
    return parse_toml(read_text(path, error, TOML_BYTES), readable(path), error)
