"""Recipes: which sites of a network are quantized for a target, and how. Every choice has a reason.

`targets/<target>/<scheme>.toml` are the packaged recipes; a user's own file has the same keys.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from edgenext.errors import UsageError, unknown_name
from edgenext.graph.sites import Kind
from edgenext.options import GELUS
from edgenext.schema import Record
from edgenext.schema.validation import validated
from edgenext.system.parsing import parse_toml
from edgenext.system.reading import read_text
from edgenext.targets.scheme import SCHEMES
from edgenext.targets.target import recipe_text, require_runnable

Reason = Annotated[str, Field(min_length=1)]


class Weights(Record):
    """Symmetric weights: int8 ones in ±limit, int4 ones in ±7.

    Layers of the kinds `int4` have int4 ones. `int4_as` says how the graph stores them: as `int4`;
    as int4 that it casts to int8 (`cast`), for a runtime whose kernels read int8 and which casts
    constants when it loads a file; or as `int8`, for a converter that packs them.
    `rounding` is `nearest`, or `gptq` (Frantar et al. 2022), in which later weights compensate the
    rounding of earlier ones. `fit` is the strength of the prior that keeps weights near the
    network's while they are fitted to the layer's quantized input (see `weights.py`); 0 does not
    fit them. `correct_bias` subtracts the mean error of a layer's output from its bias.
    """

    limit: int = Field(127, ge=1, le=127)
    int4: tuple[Kind, ...] = ()
    int4_as: Literal["int4", "cast", "int8"] = "int4"
    per_channel: bool = True
    rounding: Literal["nearest", "gptq"] = "nearest"
    fit: float = Field(0.0, ge=0, allow_inf_nan=False)
    correct_bias: bool = True
    reason: Reason

    @property
    def needs_inputs(self) -> bool:
        """Whether rounding a layer needs to know what it reads."""
        return self.correct_bias or self.fit > 0 or self.rounding == "gptq"


class Activations(Record):
    """Type and range of activations; only the method `percentile` reads `percentile`."""

    dtype: Literal["uint8", "int8", "uint16", "int16"] = "uint8"
    symmetric: bool = False
    method: Literal["minmax", "percentile", "entropy", "mse"] = "mse"
    percentile: float = Field(99.99, gt=50, le=100)
    reason: Reason


class Gate(Record):
    """GELU as x · sigmoid(slope · x), HardSwish as x · clip(x/6 + ½): look-up tables on bytes."""

    slope: float = Field(1.702, gt=0, allow_inf_nan=False)
    reason: Reason


class HardGelu(Record):
    """GELU as HardSwish(slope · x) / slope or as ReLU(x), where it stands between two layers.

    It is computed in floats, or where a runtime clips what a convolution gives. It holds for the
    sites of activations that are quantized.
    """

    function: Literal["HardSwish", "Relu"] = "HardSwish"
    slope: float = Field(1.875, gt=0, allow_inf_nan=False)
    reason: Reason

    @property
    def factor(self) -> float:
        """What the function's input is multiplied by, and its output divided."""
        return self.slope if self.function == "HardSwish" else 1.0


class Equalise(Record):
    """Channel scales that are chosen for quantization; see `equalise.py`.

    `streams` balances the tensors of the residual streams where that reduces their noise by at
    least `least_db`; `norms` balances the output of each norm with the weights of its reader.
    """

    streams: bool = False
    norms: bool = False
    least_db: float = Field(0.5, ge=0)
    reason: Reason


class Sites(Record):
    """Kinds of sites that are quantized, and the exceptions: name or pattern → reason.

    With `outputs` a site's outputs are quantized too, else only its inputs; with `graph_outputs`
    the outputs of the graph as well. Sites of the `weights_only` kinds compute in float from int8
    weights, which only saves size. `bias` is the type in which biases are stored. `float_kinds`
    gives the reason why a kind stays float, where `reason` does not.
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
    """How one target runs one scheme. Sections that the scheme does not need are absent."""

    target: str
    scheme: str
    reason: Reason
    opset: int = Field(20, ge=13, le=23)
    weights: Weights | None = None
    activations: Activations | None = None
    gate: Gate | None = None
    hard_gelu: HardGelu | None = None
    equalise: Equalise | None = None
    sites: Sites | None = None
    rest: Literal["float32", "bf16"] = "float32"
    """Arithmetic of the sites that stay float, where the runtime has a choice."""

    @property
    def replaces_gelu(self) -> bool:
        """Whether GELUs are replaced, for which each must be one operator."""
        return bool(self.gate or self.hard_gelu)


RELU_FIT = 0.5
"""The `fit` of weights behind a ReLU: they have more to make up for than behind a recipe's own
function. With 3.0 the logits of XXS on Tiny-ImageNet have a dB less."""


def with_gelu(recipe: Recipe, gelu: str) -> Recipe:
    """The recipe with another function in GELU's place.

    Args:
        recipe: of a target and scheme.
        gelu: `exact`, `relu`, or empty for the recipe's own.

    Raises:
        UsageError: another function, or a scheme that is not static.
    """
    if not gelu:
        return recipe
    if gelu not in GELUS:
        raise unknown_name("function", gelu, GELUS)
    sites, weights = recipe.sites, recipe.weights
    if sites is None or weights is None or recipe.activations is None:
        raise UsageError(
            f"{recipe.scheme} leaves GELU as it is", "Leave --gelu out, or use w8a8-static"
        )
    activation: Kind = "activation"
    kinds = tuple(kind for kind in sites.quantize if kind != activation)
    floats = {kind: reason for kind, reason in sites.float_kinds.items() if kind != activation}
    if gelu == "exact":
        floats[activation] = "Exact, as requested."
        sites = sites.model_copy(update={"quantize": kinds, "float_kinds": floats})
        return recipe.model_copy(update={"gate": None, "hard_gelu": None, "sites": sites})
    kinds = (*kinds, activation)
    return recipe.model_copy(
        update={
            "gate": None,
            "hard_gelu": HardGelu(function="Relu", reason="As requested: the fastest."),
            "weights": weights.model_copy(update={"fit": min(weights.fit, RELU_FIT)}),
            "sites": sites.model_copy(update={"quantize": kinds, "float_kinds": floats}),
        }
    )


def with_integer_io(recipe: Recipe) -> Recipe:
    """The recipe for a file with integer inputs and outputs: first and last layer quantized too.

    Raises:
        UsageError: a scheme without int8 activations.
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
            unknown key in the file (with the nearest known one), or an invalid value.
        InputError: a file that is missing or is not TOML.
    """
    if file is None:
        require_runnable(target, scheme)
        return parse_recipe(recipe_text(target, scheme), f"targets/{target}/{scheme}.toml")
    recipe = parse_recipe(read_text(file), f"the recipe {file}")
    require_runnable(recipe.target, recipe.scheme)
    return recipe


def parse_recipe(text: str, source: str) -> Recipe:
    """A recipe from TOML.

    Raises:
        InputError: not TOML.
        UsageError: an unknown or missing key, a missing section, or an invalid value.
    """
    recipe = validated(Recipe, parse_toml(text, source), source)
    for section in SCHEMES[recipe.scheme].sections if recipe.scheme in SCHEMES else ():
        if getattr(recipe, section) is None:
            raise UsageError(
                f"{source} has no section [{section}], which {recipe.scheme} needs",
                f"Add [{section}]",
            )
    if recipe.gate and recipe.hard_gelu:
        raise UsageError(
            f"{source} has a [gate] and a [hard_gelu]: each replaces the same activations",
            "Leave one of them out",
        )
    if recipe.gate and recipe.activations and recipe.activations.dtype != "uint8":
        raise UsageError(
            f"{source} has a [gate] and {recipe.activations.dtype} activations: a gate's tables "
            "are of unsigned bytes",
            'Use dtype = "uint8", or leave out [gate]',
        )
    return recipe
