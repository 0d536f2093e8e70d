"""The jobs of a sweep: make a file, evaluate it on some images, time it beside its base."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from edgenext.benchmark.retry import quietest
from edgenext.commands.bench import bench
from edgenext.commands.context import Context
from edgenext.commands.evaluate import logits_of
from edgenext.commands.quantize import (
    QuantizeSettings,
    export_settings,
    float_graph,
    resolve_quantization,
)
from edgenext.commands.subject import Subject
from edgenext.commands.sweep_images import ListedImages
from edgenext.commands.sweep_shards import shard_rows
from edgenext.export.artifacts import export_graph
from edgenext.export.settings import ExportSettings, own_format, resolve
from edgenext.formats.artifact import Artifact, open_artifact
from edgenext.formats.isolated_session import open_isolated
from edgenext.formats.session import Session
from edgenext.models.checkpoint import Checkpoint
from edgenext.options import BenchOptions, ExportOptions, ModelOptions, QuantizeOptions
from edgenext.quantize.quantized_artifact import quantize_graph
from edgenext.schema import Record, TreeFile
from edgenext.system.jobs.job import JobInputs
from edgenext.targets.scheme import FLOAT
from edgenext.targets.target import form_for, require_target

HERE = __name__
MAKE, EVALUATE, TIME = (f"{HERE}:{name}" for name in ("make", "evaluate", "time"))
"""The functions of jobs, by name."""

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


class EvaluateRequest(Record):
    """A file to evaluate, and the images."""

    artifact: TreeFile
    images: ListedImages


class TimeRequest(Record):
    """Files to time together; the first is the base."""

    artifacts: tuple[TreeFile, ...]
    device: str
    options: BenchOptions


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


def evaluate(inputs: JobInputs) -> dict[str, Any]:
    """Evaluate a file: the fields of `ShardScores`.

    Raises:
        DataError: the images are not here.
        RuntimeFailedError: the runtime refuses the file or a batch.
    """
    request = EvaluateRequest.model_validate(inputs.arguments)
    folder = inputs.tree(request.artifact.tree)
    artifact, session = _session(folder / request.artifact.file)
    images = request.images.load()
    rows = shard_rows(artifact.name, logits_of(session, images), images.labels)
    facts = {name: getattr(session, name) for name in ("runtime", "evidence", "fallback")}
    return rows | facts


def time(inputs: JobInputs) -> dict[str, Any]:
    """Time files: the fields of `TimedPair`. A noisy benchmark is repeated, a few times at most.

    Raises:
        EdgenextError: whatever `bench` raises.
    """
    request = TimeRequest.model_validate(inputs.arguments)
    paths = [inputs.tree(artifact.tree) / artifact.file for artifact in request.artifacts]
    report = quietest(partial(bench, paths, request.device, bench_options=request.options))
    return {"report": report.model_dump(mode="json")}


def _checkpoint(request: MakeRequest, context: Context, tree: Tree) -> Checkpoint:
    files = {name: getattr(request, name) for name in ("weights", "labels")}
    paths = {name: tree(file.tree) / file.file for name, file in files.items() if file}
    return context.checkpoint(request.model, replace(request.options, **paths))


@lru_cache(maxsize=2)  # a file has many shards
def _session(path: Path) -> tuple[Artifact, Session]:
    artifact = open_artifact(path)
    return artifact, open_isolated(artifact, 1)
