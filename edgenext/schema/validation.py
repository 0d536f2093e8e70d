"""Validation of values read from TOML; errors name the offending key."""

from __future__ import annotations

from typing import Any, TypeVar, get_args

from pydantic import ValidationError

from edgenext.errors import UsageError, unknown_name
from edgenext.schema import Record

R = TypeVar("R", bound=Record)


def validated(model: type[R], values: dict[str, Any], source: str) -> R:
    """A record of type `model` with these values.

    Args:
        model: the record type of the section.
        values: the section's keys and values.
        source: what the section is called in an error.

    Raises:
        UsageError: an unknown key or an invalid value.
    """
    try:
        return model.model_validate(values)
    except ValidationError as e:
        # A misspelt key is reported as unknown and as missing; the unknown key is more helpful.
        first = min(e.errors(), key=lambda error: error["type"] != "extra_forbidden")
        *parents, key = (str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            section: type[Record] = model
            for parent in parents:
                section = _section(section, parent)
            raise unknown_name(f"key in {source}", key, section.model_fields) from e
        dotted_key = ".".join((*parents, key))
        raise UsageError(f"{source}: {dotted_key}: {first['msg']}") from e


def _section(model: type[Record], name: str) -> type[Record]:
    """The record type of a field, or the model itself if the field is not a record."""
    annotation = model.model_fields[name].annotation if name in model.model_fields else None
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Record):
            return candidate
    return model
