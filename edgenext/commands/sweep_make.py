"""The job of a sweep that makes a file; it alone needs PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgenext.commands.context import Context
from edgenext.commands.quantize import (
    QuantizeSettings,
    export_settings,
    float_graph,
    resolve_quantization,
)
from edgenext.commands.subject import Subject
from edgenext.commands.sweep_images import ListedImages
from edgenext.export.artifacts import export_graph
from edgenext.export.settings import ExportSettings, own_format, resolve
from edgenext.models.checkpoint import Checkpoint
from edgenext.options import ExportOptions, ModelOptions, QuantizeOptions
from edgenext.quantize.quantized_artifact import quantize_graph
from edgenext.schema import Record, TreeFile
from edgenext.system.jobs.job import JobInputs
from edgenext.targets.scheme import FLOAT
from edgenext.targets.target import form_for, require_target

MAKE = f"{__name__}:make"
"""The function of the job, by name."""

Tree = Callable[[str], Path]


class MakeRequest(Record):
    """A file to make: of which network, for which target, from which images.

    `weights` and `labels` stand for those of `options`, which are paths elsewhere.
    """

    model: str
    options: ModelOptions
    weights: TreeFile | None
    labels: TreeFile | None
    scheme: str
    target: str
    seed: int
    images: ListedImages


def float_settings(target: str) -> ExportSettings:
    """The float file of a target, in its own form and format.

    Raises:
        UsageError: the format does not support it.
    """
    options = ExportOptions(form=form_for(target), target=target, format=own_format(target, FLOAT))
    return resolve(options)


def quantized_settings(options: QuantizeOptions) -> QuantizeSettings:
    """The quantized file of a target, in its own format.

    Raises:
        UsageError: the target does not run the scheme, or the format does not support it.
    """
    return resolve_quantization(
        options, ExportOptions(format=require_target(options.target).format)
    )


def make(inputs: JobInputs) -> dict[str, Any]:
    """Make a file: the fields of `MadeArtifact` but its tree.

    Raises:
        EdgenextError: whatever `export` and `quantize` raise.
    """
    request = MakeRequest.model_validate(inputs.arguments)
    images, context = request.images.load(), Context()
    checkpoint = _checkpoint(request, context, inputs.tree)
    if request.scheme == FLOAT:
        settings = float_settings(request.target)
        path = inputs.out / settings.file_name(f"{checkpoint.name}-{checkpoint.eval.size}")
        graph = context.graph(checkpoint, settings)
        artifact = export_graph(graph, settings, path, np.asarray(images.images))
    else:
        options = QuantizeOptions(request.scheme, request.target, seed=request.seed)
        quantized, subject = quantized_settings(options), Subject(checkpoint=checkpoint)
        graph, stem = float_graph(context, subject, quantized)
        export = export_settings(subject, graph, quantized)
        path = inputs.out / export.file_name(stem)
        artifact = quantize_graph(graph, export, images, path, quantized.recipe, seed=request.seed)
    return {"file": artifact.path.name}


def _checkpoint(request: MakeRequest, context: Context, tree: Tree) -> Checkpoint:
    files = {name: getattr(request, name) for name in ("weights", "labels")}
    paths = {name: tree(file.tree) / file.file for name, file in files.items() if file}
    return context.checkpoint(request.model, replace(request.options, **paths))
