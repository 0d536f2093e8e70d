"""Validation of TOML values, with errors that name the key."""

from __future__ import annotations

from typing import Any, TypeVar, get_args

from pydantic import ValidationError

from edgenext.errors import UsageError, unknown_name
from edgenext.schema import Record

R = TypeVar("R", bound=Record)


def validated(model: type[R], values: dict[str, Any], source: str) -> R:
    """Values as a record.

    Args:
        model: the record of the section.
        values: the section of the TOML.
        source: what errors call it: a file or a section.

    Raises:
        UsageError: an unknown key, or an invalid value.
    """
    try:
        return model.model_validate(values)
    except ValidationError as e:
        # A mistyped key is unknown and the right one missing: report the unknown one.
        first = min(e.errors(), key=lambda error: error["type"] != "extra_forbidden")
        *parents, key = (str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            section: type[Record] = model
            for parent in parents:
                section = _section(section, parent)
            raise unknown_name(f"key in {source}", key, section.model_fields) from e
        field = ".".join((*parents, key))
        raise UsageError(f"{source}: {field}: {first['msg']}") from e


def _section(model: type[Record], name: str) -> type[Record]:
    """The record that a field holds; the model itself if it holds none."""
    declared = model.model_fields[name].annotation if name in model.model_fields else None
    for kind in (declared, *get_args(declared)):
        if isinstance(kind, type) and issubclass(kind, Record):
            return kind
    return model
