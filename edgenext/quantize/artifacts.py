"""From a float graph and calibration images to a quantized artifact that has run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import onnx
from numpy.typing import NDArray

from edgenext.data import ImageSet
from edgenext.errors import ArtifactError, UsageError
from edgenext.export.artifacts import Content, Graph, write_artifact
from edgenext.export.onnx import call_size
from edgenext.export.parity import onnx_reference
from edgenext.export.settings import ExportSettings
from edgenext.formats.artifact import Artifact
from edgenext.options import ENGINE
from edgenext.quantize import cast, dynamic
from edgenext.quantize.baselines import BASELINES
from edgenext.quantize.calibrate import Batches
from edgenext.quantize.checks import calibration_warnings, clipping_warnings, require_finite
from edgenext.quantize.engine import Quantized, quantize_static
from edgenext.quantize.recipe import Recipe
from edgenext.system.progress import Progress, quiet
from edgenext.targets.scheme import SCHEMES

PARITY_IMAGES = 32
"""Images on which the written file is compared with its float graph."""


@dataclass(frozen=True)
class PreparedBatches(Sequence[NDArray[Any]]):
    """Images as inputs of a graph's batch size, prepared one batch at a time.

    What does not fill a batch is left out; one batch there always is.
    """

    graph: Graph
    images: NDArray[np.uint8]

    @property
    def size(self) -> int:
        """Images in a batch."""
        return call_size(self.graph.model)

    def __len__(self) -> int:
        return max(len(self.images) // self.size, 1)

    @overload
    def __getitem__(self, index: int) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[NDArray[Any]]: ...
    def __getitem__(self, index: int | slice) -> NDArray[Any] | list[NDArray[Any]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        part = self.images[index * self.size : (index + 1) * self.size]
        return self.graph.prepare(np.resize(part, (self.size, *part.shape[1:])))


def quantize_graph(
    graph: Graph,
    settings: ExportSettings,
    images: ImageSet,
    path: Path,
    recipe: Recipe,
    *,
    seed: int = 0,
    progress: Progress = quiet,
) -> Artifact:
    """Quantize a float graph, run the result and write it with its manifest.

    The parity in the manifest is taken on the images given: it is a check, not a result.

    Args:
        graph: a float graph; this package's own engine needs a deployment form.
        settings: scheme and engine, and the format that is converted to.
        images: of the graph's transform: calibrated on if the scheme needs it, compared on always.
        path: of the file to write.
        recipe: what is quantized, and how; of no account to a baseline.
        seed: of the values sampled for the range search.
        progress: told of the calibration.

    Raises:
        ArtifactError: a graph that cannot be quantized.
        DataError: calibration images that drive the network to values that are not finite.
        OutputError: the folder cannot be written.
    """
    require_finite(graph.model)
    if settings.engine == ENGINE and graph.form == "naive" and settings.calibrated:
        raise ArtifactError(
            "the plain graph cannot be quantized by this engine: its scales are not folded",
            "Export it without --no-fold, or quantize the model itself",
        )
    if settings.converter_quantizes:
        quantized = Quantized(graph.model, graph.model, {}, {})
    else:
        batches = PreparedBatches(graph, images.images)
        quantized = _quantized(graph.model, batches, recipe, settings.engine, seed, progress)
    return write_quantized(graph, settings, quantized, images, path, recipe)


def write_quantized(
    graph: Graph,
    settings: ExportSettings,
    quantized: Quantized,
    images: ImageSet,
    path: Path,
    recipe: Recipe,
) -> Artifact:
    """Check a quantized graph, run it and write it with its manifest; see `quantize_graph`."""
    onnx.checker.check_model(quantized.model, full_check=True)
    needs_samples = settings.converter_quantizes or (
        settings.converter is not None and settings.converter.samples
    )
    content = Content(reference=quantized.reference, kept_float=quantized.kept)
    if settings.engine == ENGINE:
        content = replace(content, recipe=recipe.model_dump(mode="json"))
    if settings.calibrated:
        content = replace(
            content,
            samples=images.images if needs_samples else None,
            calibration=images.calibration(),
            warnings=[*calibration_warnings(images), *clipping_warnings(quantized.clipped)],
        )
    return write_artifact(
        replace(graph, model=quantized.model),
        settings,
        path,
        images.images[:PARITY_IMAGES],
        onnx_reference(quantized.reference),
        content,
    )


METHODS: dict[str, Callable[[onnx.ModelProto, Recipe], onnx.ModelProto]] = {
    "dynamic": dynamic.quantize_dynamic,
    "weight-only": dynamic.quantize_weights,
    "fp16": cast.to_fp16,
    "bf16": cast.to_bf16,
}
"""How schemes without calibration are made, by the `method` of their row in schemes.toml."""


def _quantized(
    model: onnx.ModelProto,
    batches: Batches,
    recipe: Recipe,
    engine: str,
    seed: int,
    progress: Progress,
) -> Quantized:
    if engine in BASELINES:
        return Quantized(BASELINES[engine].quantize(model, batches), model, {}, {})
    method = SCHEMES[recipe.scheme].method
    if method == "static":
        return quantize_static(model, batches, recipe, seed, progress)
    if not method:
        raise UsageError(
            f"{recipe.scheme} is not for ONNX", f"Leave --format out: {recipe.target} has its own"
        )
    return Quantized(METHODS[method](model, recipe), model, {}, {})
