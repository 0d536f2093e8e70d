"""Recipes: which operators are quantized, and how, for a target. Data, with reasons."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from edgenext.errors import InputError, UsageError, unknown_name
from edgenext.schema import Record

SCHEMES = ("w8a8-static",)


class Weights(Record):
    """Symmetric int8 weights, one scale an output channel, in ±limit."""

    limit: int
    reason: str


class Activations(Record):
    """How a tensor's range is chosen from what calibration saw."""

    method: Literal["minmax", "mse"]
    reason: str


class Gelu(Record):
    """GELU as x · sigmoid(slope · x) in table look-ups; slope 0 keeps the float GELU."""

    slope: float
    reason: str


class Operators(Record):
    """ONNX operators that run in 8 bits."""

    quantize: tuple[Literal["Conv", "Gemm", "Add", "Concat", "Split"], ...]
    reason: str


class Recipe(Record):
    """One target's INT8 recipe."""

    target: str
    scheme: str
    weights: Weights
    activations: Activations
    gelu: Gelu
    operators: Operators


def targets() -> list[str]:
    """Targets with a recipe of their own."""
    folder = resources.files("edgenext.quantize").joinpath("recipes")
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir())


def load_recipe(target: str, scheme: str = "w8a8-static", file: Path | None = None) -> Recipe:
    """The recipe of a target, or the one in a file.

    Raises:
        UsageError: no such target or scheme, or an unknown key in the file.
        InputError: a file that is missing or is no TOML.
    """
    if scheme not in SCHEMES:
        raise unknown_name("scheme", scheme, SCHEMES)
    if file is None:
        if target not in targets():
            raise unknown_name("target", target, targets())
        text = resources.files("edgenext.quantize").joinpath(f"recipes/{target}.toml").read_text()
    else:
        try:
            text = file.read_text()
        except (OSError, UnicodeDecodeError) as e:
            raise InputError(f"cannot read the recipe {file}: {e}") from e
    try:
        return Recipe.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as e:
        raise InputError(f"{file or target} is no TOML: {e}") from e
    except ValidationError as e:
        first = e.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UsageError(f"recipe {file or target}: {key}: {first['msg']}") from e
