"""Methods: the function behind each `method` of `targets/schemes.toml`."""

from __future__ import annotations

from collections.abc import Callable

import onnx

from edgenext.errors import UsageError
from edgenext.graph.ranges import InputRange
from edgenext.quantize.baseline_rows import BASELINES
from edgenext.quantize.baselines import quantize_with
from edgenext.quantize.batches import Batches
from edgenext.quantize.dynamic import quantize_dynamic
from edgenext.quantize.half_precision import to_bf16, to_fp16
from edgenext.quantize.recipe import Recipe
from edgenext.quantize.static import QuantizedGraph, quantize_static
from edgenext.quantize.weight_only import quantize_weights
from edgenext.system.progress import Progress
from edgenext.targets.scheme import SCHEMES

LISTED = 5
"""Values of which no proof was found that are named in a warning."""

STATIC = "static"
"""The method that needs calibration."""


def _dynamic(model: onnx.ModelProto, recipe: Recipe, inputs: InputRange) -> QuantizedGraph:
    del inputs  # ranges are computed at run time
    return QuantizedGraph(quantize_dynamic(model, recipe), model)


def _weight_only(model: onnx.ModelProto, recipe: Recipe, inputs: InputRange) -> QuantizedGraph:
    del inputs  # only weights are rounded
    return QuantizedGraph(quantize_weights(model, recipe), model)


def _fp16(model: onnx.ModelProto, recipe: Recipe, inputs: InputRange) -> QuantizedGraph:
    del recipe  # it has no options
    half = to_fp16(model, inputs)
    doubts: tuple[str, ...] = ()
    if half.doubts:
        more = len(half.doubts) - LISTED
        named = ", ".join(half.doubts[:LISTED]) + (f" and {more} more" if more > 0 else "")
        doubts = (f"not proven to stay below float16's 65504 for every image: {named}",)
    return QuantizedGraph(half.model, model, half.in_float32, doubts=doubts)


def _bf16(model: onnx.ModelProto, recipe: Recipe, inputs: InputRange) -> QuantizedGraph:
    del recipe, inputs  # it has no options, and float32's range
    return QuantizedGraph(to_bf16(model), model)


METHODS: dict[str, Callable[[onnx.ModelProto, Recipe, InputRange], QuantizedGraph]] = {
    "dynamic": _dynamic,
    "weight-only": _weight_only,
    "fp16": _fp16,
    "bf16": _bf16,
}
"""Methods without calibration: from a float graph and the range of its input."""


def quantize_model(
    model: onnx.ModelProto,
    batches: Batches,
    recipe: Recipe,
    engine: str,
    inputs: InputRange,
    seed: int,
    progress: Progress,
) -> QuantizedGraph:
    """Quantize a float graph by the method of the recipe's scheme, or by a baseline.

    Args:
        model: a float graph.
        batches: calibration images as its inputs.
        recipe: what is quantized, and how.
        engine: the quantizer.
        inputs: the range of the graph's input, for all images.
        seed: of the values sampled for the range search.
        progress: called during calibration and rounding.

    Raises:
        UsageError: a scheme that only a format's converter makes.
    """
    if engine in BASELINES:
        return QuantizedGraph(quantize_with(engine, model, batches), model)
    method = SCHEMES[recipe.scheme].method
    if method == STATIC:
        return quantize_static(model, batches, recipe, seed, progress)
    if not method:
        raise UsageError(
            f"{recipe.scheme} does not exist in ONNX",
            f"Leave --format out: {recipe.target} has its own format",
        )
    return METHODS[method](model, recipe, inputs)
