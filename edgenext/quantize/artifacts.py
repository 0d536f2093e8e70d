"""From a float graph and calibration images to a quantized artifact that has run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgenext.artifact import Artifact
from edgenext.data import ImageSet
from edgenext.errors import ArtifactError, unknown_name
from edgenext.export.artifacts import Graph, write_artifact
from edgenext.export.onnx import call_size
from edgenext.export.parity import measure_parity, onnx_reference
from edgenext.quantize.engine import quantize_static
from edgenext.quantize.recipe import Recipe
from edgenext.quantize.rivals import onnxruntime_static

ENGINES = ("edgenext", "onnxruntime")
PARITY_IMAGES = 32
"""Calibration images on which the written file is compared with its float graph."""


def quantize_graph(
    graph: Graph,
    calibration: ImageSet,
    path: Path,
    recipe: Recipe,
    *,
    engine: str = "edgenext",
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Artifact:
    """Quantize a float graph, run the result and write it with its manifest.

    The parity in the manifest is taken on calibration images: it is a check, not a result.

    Args:
        graph: a float graph; our engine needs a deployment form.
        calibration: images of the graph's transform.
        path: of the file to write.
        recipe: what is quantized, and how (our engine's).
        engine: `edgenext`, or `onnxruntime` for its quantizer with its defaults.
        seed: of the values sampled for the range search.
        progress: called with the number of calibrated batches.

    Raises:
        UsageError: an unknown engine.
        ArtifactError: a graph that cannot be quantized.
        OutputError: the folder cannot be written.
    """
    require_engine(engine)
    if engine == "edgenext" and graph.form == "naive":
        raise ArtifactError(
            "the plain graph cannot be quantized by this engine: its scales are not folded",
            "Export it without --no-fold, or quantize the model itself",
        )
    batches = _batches(graph, calibration)
    if engine == "edgenext":
        model = quantize_static(graph.model, batches, recipe, seed, progress)
    else:
        model = onnxruntime_static(graph.model, batches)
    onnx.checker.check_model(model, full_check=True)
    parity = measure_parity(
        model, onnx_reference(graph.model), calibration.images[:PARITY_IMAGES], graph.transform
    )
    return write_artifact(
        replace(graph, model=model),
        path,
        scheme=recipe.scheme,
        parity=parity,
        recipe=recipe.model_dump(mode="json") if engine == "edgenext" else None,
        calibration=calibration.calibration(),
        engine=engine,
    )


def require_engine(name: str) -> None:
    """Refuse an engine that does not exist.

    Raises:
        UsageError: it does not; the nearest names are suggested.
    """
    if name not in ENGINES:
        raise unknown_name("engine", name, ENGINES)


def _batches(graph: Graph, images: ImageSet) -> list[NDArray[Any]]:
    """Prepared inputs of the graph's batch size; what does not fill one is left out."""
    size = call_size(graph.model)
    stop = max(len(images.images) // size, 1) * size
    return [
        graph.prepare(np.resize(images.images[i : i + size], (size, *images.images.shape[1:])))
        for i in range(0, stop, size)
    ]
