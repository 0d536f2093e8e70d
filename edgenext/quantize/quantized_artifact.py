"""From a float graph and calibration images to a quantized artifact, run and checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from edgenext.data import ImageSet
from edgenext.errors import ArtifactError
from edgenext.export.artifacts import network_reference, write_artifact
from edgenext.export.content import Content
from edgenext.export.deployment_graph import Graph
from edgenext.export.parity import in_units_of
from edgenext.export.settings import ExportSettings
from edgenext.formats.artifact import Artifact
from edgenext.graph.ranges import input_range
from edgenext.options import ENGINE
from edgenext.quantize.batches import ImageBatches
from edgenext.quantize.calibration_checks import calibration_warnings, clipping_warnings
from edgenext.quantize.methods import quantize_model
from edgenext.quantize.opset import in_opset
from edgenext.quantize.qat import QatTraining, train_quantized
from edgenext.quantize.recipe import Recipe
from edgenext.quantize.static import QuantizedGraph
from edgenext.schema import QatRecord
from edgenext.system.progress import Progress, quiet

PARITY_IMAGES = 32
"""Images on which the written file is compared with its network."""
LEAST_CUT = 0.01
"""Share of a tensor's span: less is the rounding of its scale and zero point."""


def quantize_graph(
    graph: Graph,
    settings: ExportSettings,
    images: ImageSet,
    path: Path,
    recipe: Recipe,
    *,
    training: QatTraining | None = None,
    seed: int = 0,
    progress: Progress = quiet,
) -> Artifact:
    """Quantize a float graph, run the result and write it with its manifest.

    The manifest's parity is measured on these images: it is a check, not a result.

    Args:
        graph: a float graph; a static scheme needs a deployment form, unless a baseline makes it.
        settings: scheme and engine, and the format of the file.
        images: of the graph's transform. They calibrate a scheme that needs calibration, and the
            file is always compared with its reference on them.
        path: of the file to write.
        recipe: what is quantized, and how; a baseline ignores it.
        training: of the quantized graph; None: it stays as it was quantized.
        seed: of the values sampled for the range search.
        progress: called during calibration, rounding, conversion and comparison.

    Raises:
        ArtifactError: a graph that cannot be quantized, or weights that are not finite.
        DataError: a tensor takes values that are not finite on the calibration images.
        EdgenextError: the training fails: its loss is not finite.
        ParityError: the file does not agree with the network or with the graph that it was
            converted from; it is not written.
        OutputError: the folder cannot be written.
    """
    require_finite(graph.model)
    if settings.engine == ENGINE and graph.form == "naive" and settings.calibrated:
        raise ArtifactError(
            "a graph in the naive form cannot be quantized: its scales are not folded",
            "Export it without --no-fold, or quantize the model itself",
        )
    if settings.converter_quantizes:
        quantized = QuantizedGraph(graph.model, graph.model)
    else:
        batches = ImageBatches(graph, images.images)
        inputs = input_range(graph.transform, pixels=graph.pixels)
        quantized = quantize_model(
            graph.model, batches, recipe, settings.engine, inputs, seed, progress
        )
    record = None
    if training:
        quantized = train_quantized(quantized, graph, training, recipe, progress)
        record = training.record()
    return write_quantized(
        graph, settings, quantized, images, path, recipe, seed, progress, qat=record
    )


def write_quantized(
    graph: Graph,
    settings: ExportSettings,
    quantized: QuantizedGraph,
    images: ImageSet,
    path: Path,
    recipe: Recipe,
    seed: int = 0,
    progress: Progress = quiet,
    *,
    qat: QatRecord | None = None,
) -> Artifact:
    """Check a quantized graph, run it and write it with its manifest; see `quantize_graph`."""
    onnx.checker.check_model(quantized.model, full_check=True)
    needs_samples = settings.converter_quantizes or (
        settings.converter is not None and settings.converter.samples
    )
    # training clips where that helps
    shares = {} if qat else {name: c.share for name, c in quantized.clipped.items()}
    content = Content(
        reference=quantized.reference,
        kept_float=quantized.float_sites,
        warnings=quantized.doubts,
        seed=seed,
        qat=qat,
    )
    if settings.engine == ENGINE:
        content = replace(content, recipe=recipe.model_dump(mode="json"))
    if settings.calibrated:
        content = replace(
            content,
            samples=np.asarray(images.images) if needs_samples else None,
            calibration=images.calibration(),
            clipping={
                name: c for name, c in quantized.clipped.items() if c.share or c.cut > LEAST_CUT
            },
            warnings=[
                *quantized.doubts,
                *calibration_warnings(images),
                *clipping_warnings(shares),
            ],
        )
    sample = images.images[:PARITY_IMAGES]
    reference = network_reference(graph, features_only=settings.features_only)
    if quantized.reference is not graph.model:
        reference = in_units_of(quantized.reference, reference, sample, graph.transform)
    model = quantized.model
    if settings.converter is None:  # a converter says itself which opset it takes
        model = in_opset(model, settings.opset)
    graph = replace(graph, model=model)
    return write_artifact(graph, settings, path, sample, reference, content, progress)


def require_finite(model: onnx.ModelProto) -> None:
    """Refuse a graph with weights that are not finite.

    Raises:
        ArtifactError: such weights; the message names the first tensor.
    """
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            count = int((~np.isfinite(onnx.numpy_helper.to_array(tensor))).sum())
            if count:
                raise ArtifactError(
                    f"{tensor.name} has {count} values that are NaN or infinite",
                    "Its weights are damaged: start from an intact checkpoint",
                )
