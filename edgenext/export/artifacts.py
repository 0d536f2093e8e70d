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
from edgenext.runtimes.base import Images, normalise
from edgenext.runtimes.onnxruntime import trace
from edgenext.schema import Calibration, EvalTransform

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

    def prepare(self, images: Images) -> NDArray[Any]:
        """The input tensor of N×H×W×3 uint8 images."""
        takes_pixels = tensor_spec(self.model.graph.input[0]).dtype == "uint8"
        return images if takes_pixels else normalise(images, self.transform)


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
        "input": tensor_spec(graph.model.graph.input[0]),
        "outputs": tuple(tensor_spec(o) for o in graph.model.graph.output),
        "opset": graph.model.opset_import[0].version,
        "parity": parity,
        "sites": _present(site_tensors(content.reference or graph.model), graph.model),
    }
    return save_artifact(path, graph.model.SerializeToString(deterministic=True), about)


def _float_weights(content: Content) -> bool:
    kind = require_format(content.file_format)
    generation = content.told.get("jetpack", kind.options.get("jetpack"))
    return generation in JETPACKS and JETPACKS[str(generation)].float_weights


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
    kind = require_format(content.file_format).made_by(content.told)
    if call_size(graph.model) != tensor_spec(graph.model.graph.input[0]).shape[0]:
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
        options |= _network_options(graph)
        arrays = _network_arrays(graph)
    with new_artifact(path) as (staged, describe):
        conversion, made = convert(
            graph.model,
            staged,
            kind.converter,
            kind.needs,
            options,
            samples=samples,
            arrays=arrays,
        )
        if kind.runtime == "tflite":
            pixels = tensor_spec(graph.model.graph.input[0]).dtype == "uint8"
            add_metadata(staged, graph.arch, graph.transform, graph.labels, pixels)
        seen = runtime.inspect(staged)
        known = {"operators": seen.operators, "partitions": seen.partitions}
        about |= {
            "input": seen.input,
            "outputs": seen.outputs,
            "conversion": conversion.model_copy(update=known),
            "labels": made.get("labels", about["labels"]),
        }
        session = open_session(describe(about), os.cpu_count() or 1)
        first = graph.prepare(np.resize(images, (call_size(graph.model), *images.shape[1:])))
        float_graph = content.reference or graph.model
        tensors = trace(float_graph, first)
        sites = {s: tensors[t] for s, t in site_tensors(float_graph).items() if t in tensors}
        parity, found = session_parity(session, reference, images, graph.transform, sites)
        require_parity(parity, content.scheme, path.name)
        artifact = describe(about | {"parity": parity, "sites": found})
    return Artifact(path, artifact.manifest)


def _channels_last(graph: Graph, images: Images) -> NDArray[Any]:
    """Images as the inputs of a file whose channels come last, float32."""
    inputs = graph.prepare(images).astype(np.float32, copy=False)
    return inputs if inputs.shape[-1] == 3 else inputs.transpose(0, 2, 3, 1)


def _network_options(graph: Graph) -> dict[str, Any]:
    """What a converter that builds the network by itself is told."""
    if graph.checkpoint is None:
        raise UsageError("this engine builds the network by itself", "Give it a model, not a file")
    given = tensor_spec(graph.model.graph.input[0])
    pixels = given.dtype == "uint8"
    return {
        "arch": asdict(graph.checkpoint.network().arch),
        "size": given.shape[1:3] if pixels else given.shape[2:4],
        "batch": given.shape[0],
        "pixels": pixels,
    }


def _network_arrays(graph: Graph) -> dict[str, NDArray[Any]]:
    assert graph.checkpoint  # noqa: S101 - _network_options has seen to it
    given = tensor_spec(graph.model.graph.input[0])
    pixels = graph.transform if given.dtype == "uint8" else None
    height, width = given.shape[1:3] if pixels else given.shape[2:4]
    return deployed_arrays(graph.checkpoint.network(), height, width, pixels)


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
