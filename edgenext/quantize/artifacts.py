"""From a float graph and calibration images to a quantized artifact that has run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, overload

import numpy as np
import onnx
from numpy.typing import NDArray

from edgenext.artifact import Artifact
from edgenext.data import ImageSet
from edgenext.errors import ArtifactError, UsageError, unknown_name
from edgenext.export.artifacts import Content, Graph, write_artifact
from edgenext.export.formats import require_format
from edgenext.export.onnx import call_size
from edgenext.export.parity import onnx_reference
from edgenext.quantize import cast, dynamic, rivals
from edgenext.quantize.calibrate import Batches
from edgenext.quantize.checks import calibration_warnings, clipping_warnings, require_finite
from edgenext.quantize.engine import Quantized, quantize_static
from edgenext.quantize.recipe import STATIC, Recipe


@dataclass(frozen=True)
class Rival:
    """Another quantizer: the target that its files are for, and the form that it is given.

    No form stands for the target's own.
    """

    quantize: Callable[[onnx.ModelProto, Batches], onnx.ModelProto]
    target: str
    form: str = ""


RIVALS = {
    "onnxruntime": Rival(rivals.onnxruntime_static, "cpu-onnxruntime", "naive"),
    "nncf": Rival(rivals.nncf_static, "cpu-openvino"),
}

ENGINES = ("edgenext", *RIVALS)

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
    images: ImageSet,
    path: Path,
    recipe: Recipe,
    *,
    engine: str = "edgenext",
    seed: int = 0,
    file_format: str = "onnx",
    told: Mapping[str, str | bool] = MappingProxyType({}),
    progress: Callable[[int, int], None] | None = None,
) -> Artifact:
    """Quantize a float graph, run the result and write it with its manifest.

    The parity in the manifest is taken on the images given: it is a check, not a result.

    Args:
        graph: a float graph; our engine needs a deployment form.
        images: of the graph's transform: calibrated on if the scheme needs it, compared on always.
        path: of the file to write.
        recipe: what is quantized, and how (our engine's).
        engine: one of `ENGINES`.
        seed: of the values sampled for the range search.
        file_format: of the file; other than ONNX it is converted from the quantized graph.
        told: options of the format, by name.
        progress: called with the batches that are done and how many there are.

    Raises:
        UsageError: an unknown engine, or a scheme that is not its own.
        ArtifactError: a graph that cannot be quantized.
        DataError: calibration images that drive the network to values that are not finite.
        OutputError: the folder cannot be written.
    """
    require_engine(engine, recipe.scheme)
    require_finite(graph.model)
    if engine == "edgenext" and graph.form == "naive" and recipe.scheme in STATIC:
        raise ArtifactError(
            "the plain graph cannot be quantized by this engine: its scales are not folded",
            "Export it without --no-fold, or quantize the model itself",
        )
    batches = PreparedBatches(graph, images.images)
    if recipe.scheme in require_format(file_format).made_by(told, graph.target).converts:
        made = Quantized(graph.model, graph.model, {}, {})
    else:
        made = _quantized(graph.model, batches, recipe, engine, seed, progress)
    return write_quantized(graph, made, images, path, recipe, engine, file_format, told)


def write_quantized(
    graph: Graph,
    made: Quantized,
    images: ImageSet,
    path: Path,
    recipe: Recipe,
    engine: str = "edgenext",
    file_format: str = "onnx",
    told: Mapping[str, str | bool] = MappingProxyType({}),
) -> Artifact:
    """Check a quantized graph, run it and write it with its manifest; see `quantize_graph`."""
    onnx.checker.check_model(made.model, full_check=True)
    calibrated = recipe.scheme in STATIC
    kind = require_format(file_format).made_by(told, graph.target)
    given = kind.samples or recipe.scheme in kind.converts
    warnings: list[str] = []
    if calibrated:
        warnings = [*calibration_warnings(images), *clipping_warnings(made.clipped)]
    content = Content(
        scheme=recipe.scheme,
        reference=made.reference,
        file_format=file_format,
        told=told,
        samples=images.images if calibrated and given else None,
        recipe=recipe.model_dump(mode="json") if engine == "edgenext" else None,
        calibration=images.calibration() if calibrated else None,
        engine=engine,
        kept=made.kept,
        warnings=warnings,
    )
    return write_artifact(
        replace(graph, model=made.model),
        path,
        images.images[:PARITY_IMAGES],
        onnx_reference(made.reference),
        content,
    )


def _quantized(
    model: onnx.ModelProto,
    batches: Batches,
    recipe: Recipe,
    engine: str,
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> Quantized:
    if engine in RIVALS:
        return Quantized(RIVALS[engine].quantize(model, batches), model, {}, {})
    if recipe.scheme in STATIC:
        return quantize_static(model, batches, recipe, seed, progress)
    convert = {
        "w8a8-dynamic": dynamic.quantize_dynamic,
        "w8-weight-only": dynamic.quantize_weights,
        "fp16": cast.to_fp16,
        "bf16": cast.to_bf16,
    }
    if recipe.scheme not in convert:
        raise UsageError(
            f"{recipe.scheme} is not for ONNX", f"Leave --format out: {recipe.target} has its own"
        )
    return Quantized(convert[recipe.scheme](model, recipe), model, {}, {})


def require_engine(name: str, scheme: str = "w8a8-static") -> None:
    """Refuse an engine that does not exist, or does not make a scheme.

    Raises:
        UsageError: it does not; the nearest names are suggested.
    """
    if name not in ENGINES:
        raise unknown_name("engine", name, ENGINES)
    if name in RIVALS and scheme != "w8a8-static":
        raise UsageError(f"the engine {name} makes w8a8-static only, not {scheme}")


def form_of(engine: str, form: str) -> str:
    """The form an engine is given, where our own would get `form`."""
    return (RIVALS[engine].form if engine in RIVALS else "") or form
