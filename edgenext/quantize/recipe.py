"""Recipes: which sites are quantized, and how, for a target. Data, with reasons.

`targets/<target>/<scheme>.toml` are the packaged ones; a file of the user's has the same keys.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from edgenext.errors import InputError, UsageError
from edgenext.graph.sites import Kind
from edgenext.schema import Record
from edgenext.schema.validation import validated
from edgenext.targets.scheme import SCHEMES
from edgenext.targets.target import recipe_text, require_runnable

Reason = Annotated[str, Field(min_length=1)]


class Weights(Record):
    """Symmetric int8 weights in ±limit.

    `rounding` is `nearest`, or `gptq` (Frantar et al. 2022), which lets later weights make up for
    the rounding of earlier ones. `fit` is the strength of the prior that keeps weights near the
    network's while they are fitted to what the quantized layer reads (see `rounding.py`); 0 does
    not fit them. `correct_bias` takes the mean error of a layer's output into its bias.
    """

    limit: int = Field(127, ge=1, le=127)
    per_channel: bool = True
    rounding: Literal["nearest", "gptq"] = "nearest"
    fit: float = Field(0.0, ge=0, allow_inf_nan=False)
    correct_bias: bool = True
    reason: Reason


class Activations(Record):
    """Type and range of activations; `percentile` is used by the method of that name."""

    dtype: Literal["uint8", "int8", "uint16", "int16"] = "uint8"
    symmetric: bool = False
    method: Literal["minmax", "percentile", "entropy", "mse"] = "mse"
    percentile: float = Field(99.99, gt=50, le=100)
    reason: Reason


class Gate(Record):
    """GELU as x · sigmoid(slope · x), HardSwish as x · clip(x/6 + ½): look-ups on bytes."""

    slope: float = Field(1.702, gt=0, allow_inf_nan=False)
    reason: Reason


class Equalise(Record):
    """Channel scales that are chosen for quantization; see `equalise.py`.

    `streams` balances the tensors of the residual streams where that cuts their noise by at least
    `least_db`; `norms` balances what each norm gives to the layer behind it.
    """

    streams: bool = False
    norms: bool = False
    least_db: float = Field(0.5, ge=0)
    reason: Reason


class Sites(Record):
    """Kinds of sites that are quantized, and the exceptions: name or pattern → reason.

    With `outputs` what a site gives is quantized too, else only what it reads; with
    `graph_outputs` also what the whole graph gives. Sites of the `weights_only` kinds compute in
    float from int8 weights, for their size alone. `bias` is the type in which biases are stored.
    `float_kinds` says of kinds that are not quantized why not, where `reason` does not.
    """

    quantize: tuple[Kind, ...]
    weights_only: tuple[Kind, ...] = ()
    outputs: bool = True
    graph_outputs: bool = False
    bias: Literal["int32", "float32"] = "int32"
    float_kinds: dict[Kind, Reason] = Field(default_factory=dict)
    keep_float: dict[str, Reason] = Field(default_factory=dict)
    reason: Reason


class Recipe(Record):
    """How one target runs one scheme. What a scheme does not need is absent."""

    target: str
    scheme: str
    reason: Reason
    opset: int = Field(20, ge=13, le=23)
    weights: Weights | None = None
    activations: Activations | None = None
    gate: Gate | None = None
    equalise: Equalise | None = None
    sites: Sites | None = None
    rest: Literal["float32", "bf16"] = "float32"
    """What the sites that stay float are computed in, where the runtime can choose."""


def with_integer_io(recipe: Recipe) -> Recipe:
    """The same recipe for a file that takes and gives integers: its first and last layer too.

    Raises:
        UsageError: a scheme without integer activations.
    """
    if recipe.sites is None or recipe.scheme != "w8a8-static":
        raise UsageError(f"{recipe.scheme} has no integer inputs", "Use w8a8-static")
    ends: tuple[Kind, ...] = ("stem", "head")
    inner = tuple(kind for kind in recipe.sites.quantize if kind not in ends)
    sites = recipe.sites.model_copy(
        update={
            "quantize": (ends[0], *inner, ends[1]),
            "weights_only": tuple(k for k in recipe.sites.weights_only if k not in ends),
            "float_kinds": {k: v for k, v in recipe.sites.float_kinds.items() if k not in ends},
            "graph_outputs": True,
        }
    )
    return recipe.model_copy(update={"sites": sites})


def load_recipe(target: str, scheme: str = "w8a8-static", file: Path | None = None) -> Recipe:
    """The recipe of a target and scheme, or the one in a file.

    Raises:
        UsageError: no such target or scheme, a scheme the target cannot run (with the reason), an
            unknown key in the file (with the nearest), or a value that cannot be.
        InputError: a file that is missing or is no TOML.
    """
    if file is None:
        require_runnable(target, scheme)
        return parse_recipe(recipe_text(target, scheme), f"targets/{target}/{scheme}.toml")
    try:
        recipe = parse_recipe(file.read_text("utf-8"), f"the recipe {file}")
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"cannot read the recipe {file}: {e}") from e
    require_runnable(recipe.target, recipe.scheme)
    return recipe


def parse_recipe(text: str, source: str) -> Recipe:
    """A recipe from TOML.

    Raises:
        InputError: no TOML.
        UsageError: an unknown key, a missing one, or a value that cannot be.
    """
    try:
        values: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise InputError(f"{source} is no TOML: {e}") from e
    recipe = validated(Recipe, values, source)
    for section in SCHEMES[recipe.scheme].sections if recipe.scheme in SCHEMES else ():
        if getattr(recipe, section) is None:
            raise UsageError(f"{source} has no [{section}]: {recipe.scheme} needs it")
    return recipe
