"""No record holds NaN or infinity: not when it is read, not when it is made, not in a copy."""

from __future__ import annotations

import importlib
import math
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
from pydantic import BaseModel, ValidationError

import edgenext
from edgenext.schema import Manifest, Parity, Record

BAD = (math.nan, math.inf, -math.inf)


def all_records() -> list[type[Record]]:
    """Every record of the package."""
    root = Path(edgenext.__path__[0])
    for path in root.rglob("*.py"):
        if "(Record)" in path.read_text():
            importlib.import_module(".".join(path.relative_to(root.parent).with_suffix("").parts))
    found: set[type[Record]] = set()
    rest = [Record]
    while rest:
        for kind in rest.pop().__subclasses__():
            if kind not in found and kind.__module__.startswith("edgenext."):
                found.add(kind)
                rest.append(kind)
    return sorted(found, key=lambda kind: f"{kind.__module__}.{kind.__name__}")


def example(kind: Any) -> Any:
    """Some value of a type; numbers are 0.5 where they may be floats."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is typing.Annotated:
        return example(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return example(next(a for a in arguments if a is not type(None)))
    if origin is typing.Literal:
        return arguments[0]
    if origin in (tuple, list, set, frozenset):
        rest = [a for a in arguments if a is not Ellipsis] or [str]
        return [example(a) for a in rest]
    if origin is not None and issubclass(origin, Mapping):
        return {example(arguments[0]): example(arguments[1])}
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: example(field.annotation) for name, field in kind.model_fields.items()}
    return {float: 0.5, int: 1, bool: False, str: "x", object: {"a": [0.5]}}.get(kind, "x")


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where an example has a float."""
    if isinstance(value, float):
        yield path
    pairs = value.items() if isinstance(value, dict) else ()
    pairs = enumerate(value) if isinstance(value, list) else pairs
    for key, part in pairs:
        yield from places(part, (*path, key))


def changed(value: Any, path: tuple[Any, ...], new: float) -> Any:
    """An example with another value at one place."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], new)
    return copy


def test_every_float_of_every_record() -> None:
    checked = 0
    for kind in all_records():
        values = example(kind)
        for path in places(values):
            for bad in BAD:
                with pytest.raises(ValidationError) as caught:
                    kind.model_validate(changed(values, path, bad))
                refused = {
                    error["loc"][0]
                    for error in caught.value.errors()
                    if error["type"] in ("finite_number", "value_error")
                }
                assert path[0] in refused, f"{kind.__name__}: {path} holds {bad}"
                checked += 1
    assert checked > 300


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", '"nan"'])
def test_reading_and_copying(text: str) -> None:
    good = Parity(n=1, max_abs=0, sqnr_db=1, agreement=1)
    json = good.model_dump_json().replace('"sqnr_db":1.0', f'"sqnr_db":{text}')
    with pytest.raises(ValidationError, match="finite number"):
        Parity.model_validate_json(json)
    with pytest.raises(ValueError, match="NaN or infinite"):
        good.model_copy(update={"stages": {"stem": float(text.strip('"'))}})


def test_records_of_unknown_shape() -> None:
    fields = example(Manifest) | {"recipe": {"weights": {"fit": [1.0, math.nan]}}}
    with pytest.raises(ValidationError, match="recipe"):
        Manifest.model_validate(fields)
