"""Methods: the function behind each `method` of `targets/schemes.toml`."""

from __future__ import annotations

from collections.abc import Callable

import onnx

from edgenext.errors import UsageError
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

STATIC = "static"
"""The method that needs calibration."""

METHODS: dict[str, Callable[[onnx.ModelProto, Recipe], onnx.ModelProto]] = {
    "dynamic": quantize_dynamic,
    "weight-only": quantize_weights,
    "fp16": to_fp16,
    "bf16": to_bf16,
}
"""Methods without calibration: from a float graph to a quantized one."""


def quantize_model(
    model: onnx.ModelProto,
    batches: Batches,
    recipe: Recipe,
    engine: str,
    seed: int,
    progress: Progress,
) -> QuantizedGraph:
    """Quantize a float graph by the method of the recipe's scheme, or by a baseline.

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
    return QuantizedGraph(METHODS[method](model, recipe), model)
