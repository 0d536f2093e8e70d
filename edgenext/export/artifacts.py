"""From a graph to an artifact: executed, compared, written whole, described."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgenext.errors import ArtifactError, UsageError
from edgenext.export.onnx import call_size, onnx_graph, tensor_spec
from edgenext.export.parity import (
    Reference,
    measure_parity,
    require_parity,
    session_parity,
    torch_reference,
)
from edgenext.export.settings import ExportSettings
from edgenext.formats.artifact import Artifact, new_artifact, save_artifact
from edgenext.formats.conversion import ConversionJob, convert
from edgenext.formats.format import PACKAGE, Converter, function_of
from edgenext.formats.onnx.session import tracer
from edgenext.formats.runtimes import open_session
from edgenext.formats.session import Images, filled, normalise
from edgenext.graph.tensors import site_tensors
from edgenext.models.checkpoint import Checkpoint
from edgenext.options import DEFAULT_OPSET
from edgenext.schema import Calibration, Conversion, EvalTransform, TensorSpec
from edgenext.targets.scheme import FLOAT

if TYPE_CHECKING:
    import onnx

TOOLS = ("edgenext", "torch", "onnx", "onnxruntime", "onnxsim")
"""Packages whose versions go into a manifest."""


@dataclass(frozen=True)
class Graph:
    """A float ONNX graph and what its artifacts' manifests say of it."""

    model: onnx.ModelProto
    arch: str
    num_classes: int
    labels: tuple[str, ...] | None
    transform: EvalTransform
    form: str
    target: str
    source: dict[str, str]
    checkpoint: Checkpoint | None = None
    """What it was made from, where that is at hand."""

    @property
    def input(self) -> TensorSpec:
        """What it takes."""
        return tensor_spec(self.model.graph.input[0])

    @property
    def pixels(self) -> bool:
        """Whether it takes pixels of 0–255, channels last, with the preprocessing inside."""
        return self.input.dtype == "uint8"

    def prepare(self, images: Images) -> NDArray[Any]:
        """The input tensor of N×H×W×3 uint8 images."""
        return images if self.pixels else normalise(images, self.transform)


def graph_of(checkpoint: Checkpoint, settings: ExportSettings) -> Graph:
    """The float graph of a checkpoint, for its evaluation size.

    Raises:
        UsageError: an opset or batch that cannot be exported.
        CheckpointError: weights that are not finite.
    """
    transform = checkpoint.eval
    model = onnx_graph(
        checkpoint.network(features_only=settings.features_only),
        settings.form,
        (transform.size, transform.size),
        batch=settings.batch,
        opset=settings.opset or DEFAULT_OPSET,
        pixels=transform if settings.pixels else None,
    )
    return Graph(
        model,
        checkpoint.arch,
        checkpoint.num_classes,
        checkpoint.labels,
        transform,
        settings.form,
        settings.target,
        {"weights": Path(checkpoint.source).name, "sha256": checkpoint.sha256},
        checkpoint,
    )


def read_graph(artifact: Artifact) -> Graph:
    """The graph inside an ONNX artifact.

    Raises:
        ArtifactError: the file is no ONNX graph.
    """
    import onnx
    from google.protobuf.message import DecodeError

    m = artifact.manifest
    source = {"artifact": artifact.path.name, "sha256": m.sha256}
    try:
        model = onnx.load(artifact.path)
    except DecodeError as e:
        raise ArtifactError(f"{artifact.path} is no ONNX graph: {e}") from e
    return Graph(model, m.arch, m.num_classes, m.labels, m.eval, m.form, m.target, source)


@dataclass(frozen=True)
class Content:
    """What a quantizer adds to a file's manifest, and what the file is compared with.

    `reference` is the float graph that the file stands for; the graph itself unless given.
    `samples` are calibration images for a converter that needs them, N×H×W×3 uint8.
    """

    reference: onnx.ModelProto | None = None
    samples: Images | None = None
    recipe: dict[str, object] | None = None
    calibration: Calibration | None = None
    kept: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()


FLOAT_CONTENT = Content()


def write_artifact(
    graph: Graph,
    settings: ExportSettings,
    path: Path,
    images: Images,
    reference: Reference,
    content: Content = FLOAT_CONTENT,
) -> Artifact:
    """Convert a graph to its format, run the file, compare it and write it with its manifest.

    Args:
        graph: float or Q/DQ.
        settings: the format, its options and the scheme.
        path: of the file or folder.
        images: N×H×W×3 uint8, to compare on.
        reference: what the file should agree with.
        content: how it was quantized.

    Raises:
        ParityError: the file does not agree; nothing is written.
        MissingDependencyError: a converter or runtime that is not installed.
        RuntimeFailedError: the converter failed, or the runtime refuses its file.
        OutputError: the folder cannot be written; nothing is left behind.
    """
    facts = {
        "format": settings.format.name,
        "scheme": settings.scheme,
        "form": graph.form,
        "target": graph.target,
        "arch": graph.arch,
        "num_classes": graph.num_classes,
        "labels": graph.labels,
        "eval": graph.transform,
        "source": graph.source,
        "recipe": content.recipe,
        "calibration": content.calibration,
        "engine": settings.engine,
        "kept_float": dict(content.kept),
        "warnings": tuple(content.warnings),
        "tools": {name: version(name) for name in TOOLS},
    }
    if settings.converter:
        return _converted(
            graph, settings, settings.converter, path, images, reference, content, facts
        )
    if settings.format.rewrite:
        rewrite = function_of(settings.format.rewrite)
        graph = replace(graph, model=rewrite(graph.model, settings.options))
    parity = measure_parity(graph.model, reference, images, graph.transform)
    if settings.is_checked and settings.scheme == FLOAT:
        require_parity(parity, settings.scheme, path.name)
    facts |= {
        "input": graph.input,
        "outputs": tuple(tensor_spec(o) for o in graph.model.graph.output),
        "opset": graph.model.opset_import[0].version,
        "parity": parity,
        "sites": _present(site_tensors(content.reference or graph.model), graph.model),
    }
    return save_artifact(path, graph.model.SerializeToString(deterministic=True), facts)


def _present(sites: dict[str, str], model: onnx.ModelProto) -> dict[str, str]:
    outputs = {name for node in model.graph.node for name in node.output}
    return {site: tensor for site, tensor in sites.items() if tensor in outputs}


def _converted(
    graph: Graph,
    settings: ExportSettings,
    converter: Converter,
    path: Path,
    images: Images,
    reference: Reference,
    content: Content,
    facts: dict[str, Any],
) -> Artifact:
    """Convert, read back, run and compare; see `write_artifact`."""
    size = call_size(graph.model)
    if size != graph.input.shape[0]:
        raise UsageError(f"{settings.format.name} takes a fixed batch", "Give --batch a number")
    row = settings.format
    runtime = import_module(f"{PACKAGE}.{row.session or row.folder}.session")
    runtime.preload()  # a missing one is reported before the work, not after it
    with new_artifact(path) as (staged, describe):
        conversion, outcome = _convert(graph, settings, converter, staged, content)
        facts |= {"input": graph.input, "outputs": (), "conversion": conversion}
        if row.finish:
            function_of(row.finish)(staged, describe(facts).manifest)
        inspection = runtime.inspect(staged)
        counts = {"operators": inspection.operators, "partitions": inspection.partitions}
        facts |= {
            "input": inspection.input,
            "outputs": inspection.outputs,
            "conversion": conversion.model_copy(update=counts),
            "labels": outcome.get("labels", facts["labels"]),
        }
        session = open_session(describe(facts), os.cpu_count() or 1)
        float_graph = content.reference or graph.model
        tensors = tracer(float_graph)(graph.prepare(filled(images, size)))
        sites = {s: tensors[t] for s, t in site_tensors(float_graph).items() if t in tensors}
        parity, located = session_parity(session, reference, images, graph.transform, sites)
        require_parity(parity, settings.scheme, path.name)
        artifact = describe(facts | {"parity": parity, "sites": located})
    return Artifact(path, artifact.manifest)


def _convert(
    graph: Graph, settings: ExportSettings, converter: Converter, out: Path, content: Content
) -> tuple[Conversion, dict[str, Any]]:
    """Call the converter: the record of the conversion, and what it says of the file."""
    row = settings.format
    options: dict[str, Any] = {
        "scheme": settings.scheme,
        "calibrated": settings.calibrated,
        "quantized_graph": settings.scheme != FLOAT and not settings.converter_quantizes,
        "arch": graph.arch,
        "labels": graph.labels,
        "num_classes": graph.num_classes,
        "eval": graph.transform.model_dump(),
        **{name: option.default for name, option in row.options.items()},
        **settings.options,
    }
    arrays = None
    if converter.arguments:
        more, arrays = function_of(converter.arguments)(graph.checkpoint, graph.input)
        options |= more
    samples = None if content.samples is None else _channels_last(graph, content.samples)
    job = ConversionJob(row, converter, options, samples, arrays)
    return convert(graph.model, out, job)


def _channels_last(graph: Graph, images: Images) -> NDArray[Any]:
    """Images as the inputs of a file whose channels come last, float32."""
    inputs = graph.prepare(images).astype(np.float32, copy=False)
    return inputs if inputs.shape[-1] == 3 else inputs.transpose(0, 2, 3, 1)


def export_graph(graph: Graph, settings: ExportSettings, path: Path, images: Images) -> Artifact:
    """Write the float graph of a checkpoint as an artifact that has run and agrees with PyTorch.

    Args:
        graph: of a checkpoint, made with the settings.
        settings: the format and its options.
        path: of the file to write.
        images: N×H×W×3 uint8 images of the transform's size, to compare on.

    Raises:
        ParityError: the file does not agree; nothing is written.
        OutputError: the folder cannot be written.
    """
    assert graph.checkpoint  # noqa: S101 - the caller's: a graph of a checkpoint
    network = graph.checkpoint.network(features_only=settings.features_only)
    return write_artifact(graph, settings, path, images, torch_reference(network))
