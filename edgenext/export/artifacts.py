"""From a graph to an artifact: executed, compared, written whole, described."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgenext.artifact import Artifact, new_artifact, save_artifact
from edgenext.errors import ArtifactError, UsageError
from edgenext.export.conversion import convert
from edgenext.export.formats import require_format
from edgenext.export.jetpack import JETPACKS, with_float_weights
from edgenext.export.onnx import call_size, onnx_graph, tensor_spec
from edgenext.export.parity import (
    Reference,
    measure_parity,
    require_parity,
    session_parity,
    torch_reference,
)
from edgenext.export.tflite_metadata import add_metadata
from edgenext.graph.forms import deployed_arrays
from edgenext.graph.tensors import site_tensors
from edgenext.models.checkpoint import Checkpoint
from edgenext.options import DEFAULT_OPSET, ExportOptions
from edgenext.runtimes import open_session
from edgenext.runtimes.base import Images, filled, normalise
from edgenext.runtimes.onnxruntime import tracer
from edgenext.schema import Calibration, EvalTransform, TensorSpec

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


def graph_of(checkpoint: Checkpoint, options: ExportOptions) -> Graph:
    """The float graph of a checkpoint, for its evaluation size.

    Raises:
        UsageError: an option that cannot be.
        CheckpointError: weights that are not finite.
    """
    transform = checkpoint.eval
    model = onnx_graph(
        checkpoint.network(features_only=options.features_only),
        options.form,
        (transform.size, transform.size),
        batch=options.batch,
        opset=options.opset or DEFAULT_OPSET,
        pixels=transform if options.uint8_input else None,
    )
    return Graph(
        model,
        checkpoint.arch,
        checkpoint.num_classes,
        checkpoint.labels,
        transform,
        options.form,
        options.target,
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
    """What goes into a file besides its graph: the float graph it stands for, and how it was made.

    `told` are options of the format, by name; `samples` images for a converter that calibrates by
    itself, N×H×W×3 uint8.
    """

    scheme: str = "fp32"
    reference: onnx.ModelProto | None = None
    file_format: str = "onnx"
    told: Mapping[str, str | bool] = field(default_factory=dict)
    samples: Images | None = None
    recipe: dict[str, object] | None = None
    calibration: Calibration | None = None
    engine: str = ""
    kept: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()

    @property
    def checked(self) -> bool:
        """Whether the file must agree with its reference: other quantizers' may do as they like."""
        return self.engine in ("", "edgenext")


def write_artifact(
    graph: Graph, path: Path, images: Images, reference: Reference, content: Content
) -> Artifact:
    """Convert a graph to its format, run the file, compare it and write it with its manifest.

    Args:
        graph: float or Q/DQ.
        path: of the file or folder.
        images: N×H×W×3 uint8, to compare on.
        reference: what the file should agree with.
        content: how it was made.

    Raises:
        ParityError: the file does not agree; nothing is written.
        MissingDependencyError: a converter or runtime that is not installed.
        RuntimeFailedError: the converter failed, or the runtime refuses its file.
        OutputError: the folder cannot be written; nothing is left behind.
    """
    about = {
        "format": content.file_format,
        "scheme": content.scheme,
        "form": graph.form,
        "target": graph.target,
        "arch": graph.arch,
        "num_classes": graph.num_classes,
        "labels": graph.labels,
        "eval": graph.transform,
        "source": graph.source,
        "recipe": content.recipe,
        "calibration": content.calibration,
        "engine": content.engine,
        "kept_float": dict(content.kept),
        "warnings": tuple(content.warnings),
        "tools": {name: version(name) for name in TOOLS},
    }
    if require_format(content.file_format).converter:
        return _converted(graph, path, images, reference, content, about)
    if _float_weights(content):
        graph = replace(graph, model=with_float_weights(graph.model))
    parity = measure_parity(graph.model, reference, images, graph.transform)
    if content.checked and content.scheme == "fp32":
        require_parity(parity, content.scheme, path.name)
    about |= {
        "input": graph.input,
        "outputs": tuple(tensor_spec(o) for o in graph.model.graph.output),
        "opset": graph.model.opset_import[0].version,
        "parity": parity,
        "sites": _present(site_tensors(content.reference or graph.model), graph.model),
    }
    return save_artifact(path, graph.model.SerializeToString(deterministic=True), about)


def _float_weights(content: Content) -> bool:
    generation = content.told.get("jetpack")
    return generation is not None and JETPACKS[str(generation)].float_weights


def _present(sites: dict[str, str], model: onnx.ModelProto) -> dict[str, str]:
    made = {name for node in model.graph.node for name in node.output}
    return {site: tensor for site, tensor in sites.items() if tensor in made}


def _converted(
    graph: Graph,
    path: Path,
    images: Images,
    reference: Reference,
    content: Content,
    about: dict[str, Any],
) -> Artifact:
    """Convert, read back, run and compare; see `write_artifact`."""
    kind = require_format(content.file_format).made_by(content.told, graph.target)
    size = call_size(graph.model)
    if size != graph.input.shape[0]:
        raise UsageError(f"{content.file_format} takes a fixed batch", "Give --batch a number")
    runtime = import_module(f"edgenext.runtimes.{kind.runtime}")
    runtime.preload()  # a missing one is told before the work, not after it
    options = {
        "scheme": content.scheme,
        "arch": graph.arch,
        "labels": graph.labels,
        "num_classes": graph.num_classes,
        "eval": graph.transform.model_dump(),
        **kind.options,
        **content.told,
    }
    samples = None if content.samples is None else _channels_last(graph, content.samples)
    arrays = None
    if kind.converter == "tensorflow":
        told, arrays = _network(graph)
        options |= told
    with new_artifact(path) as (staged, describe):
        conversion, made = convert(
            graph.model,
            staged,
            kind.converter,
            kind.needs,
            options,
            extra=kind.extra,
            samples=samples,
            arrays=arrays,
        )
        if kind.runtime == "tflite":
            add_metadata(staged, graph.arch, graph.transform, graph.labels, graph.pixels)
        seen = runtime.inspect(staged)
        known = {"operators": seen.operators, "partitions": seen.partitions}
        about |= {
            "input": seen.input,
            "outputs": seen.outputs,
            "conversion": conversion.model_copy(update=known),
            "labels": made.get("labels", about["labels"]),
        }
        session = open_session(describe(about), os.cpu_count() or 1)
        float_graph = content.reference or graph.model
        tensors = tracer(float_graph)(graph.prepare(filled(images, size)))
        sites = {s: tensors[t] for s, t in site_tensors(float_graph).items() if t in tensors}
        parity, found = session_parity(session, reference, images, graph.transform, sites)
        require_parity(parity, content.scheme, path.name)
        artifact = describe(about | {"parity": parity, "sites": found})
    return Artifact(path, artifact.manifest)


def _channels_last(graph: Graph, images: Images) -> NDArray[Any]:
    """Images as the inputs of a file whose channels come last, float32."""
    inputs = graph.prepare(images).astype(np.float32, copy=False)
    return inputs if inputs.shape[-1] == 3 else inputs.transpose(0, 2, 3, 1)


def _network(graph: Graph) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """What a converter that builds the network by itself is told, and the folded tensors."""
    if graph.checkpoint is None:
        raise UsageError("this engine builds the network by itself", "Give it a model, not a file")
    network, shape = graph.checkpoint.network(), graph.input.shape
    height, width = shape[1:3] if graph.pixels else shape[2:4]
    told = {
        "arch": asdict(network.arch),
        "size": [height, width],
        "batch": shape[0],
        "pixels": graph.pixels,
    }
    return told, deployed_arrays(network, height, width, graph.transform if graph.pixels else None)


def export_network(
    checkpoint: Checkpoint, path: Path, images: Images, options: ExportOptions
) -> Artifact:
    """Export a checkpoint to a float artifact that has run and agrees with PyTorch.

    Args:
        checkpoint: the weights; its evaluation transform becomes the artifact's.
        path: of the file to write.
        images: N×H×W×3 uint8 images of the transform's size, to compare on.
        options: how the graph is made, and in which format.

    Raises:
        ParityError: the file does not agree; nothing is written.
        OutputError: the folder cannot be written.
    """
    graph = graph_of(checkpoint, options)
    reference = torch_reference(checkpoint.network(features_only=options.features_only))
    content = Content(file_format=options.file_format, told=options.told)
    return write_artifact(graph, path, images, reference, content)
