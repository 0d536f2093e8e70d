"""From a graph to an artifact: executed, compared, written whole, described."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from edgenext.artifact import Artifact, save_artifact
from edgenext.errors import ArtifactError
from edgenext.export.onnx import onnx_graph, tensor_spec
from edgenext.export.parity import measure_parity, require_parity, torch_reference
from edgenext.models.checkpoint import Checkpoint
from edgenext.options import ExportOptions
from edgenext.runtimes.base import Images, normalise
from edgenext.schema import Calibration, EvalTransform, Parity

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
        opset=options.opset,
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


def write_artifact(
    graph: Graph,
    path: Path,
    *,
    scheme: str,
    parity: Parity,
    recipe: dict[str, object] | None = None,
    calibration: Calibration | None = None,
    engine: str = "",
    kept: Mapping[str, str] = MappingProxyType({}),
    warnings: Sequence[str] = (),
) -> Artifact:
    """Write a graph and its manifest.

    Raises:
        OutputError: the folder cannot be written; nothing is left behind.
    """
    about = {
        "format": "onnx",
        "scheme": scheme,
        "form": graph.form,
        "target": graph.target,
        "arch": graph.arch,
        "num_classes": graph.num_classes,
        "labels": graph.labels,
        "eval": graph.transform,
        "input": tensor_spec(graph.model.graph.input[0]),
        "outputs": tuple(tensor_spec(o) for o in graph.model.graph.output),
        "opset": graph.model.opset_import[0].version,
        "source": graph.source,
        "recipe": recipe,
        "calibration": calibration,
        "engine": engine,
        "kept_float": dict(kept),
        "warnings": tuple(warnings),
        "parity": parity,
        "tools": {name: version(name) for name in TOOLS},
    }
    return save_artifact(path, graph.model.SerializeToString(deterministic=True), about)


def export_onnx(
    checkpoint: Checkpoint, path: Path, images: Images, options: ExportOptions
) -> Artifact:
    """Export a checkpoint to a float ONNX artifact that has run and agrees with PyTorch.

    Args:
        checkpoint: the weights; its evaluation transform becomes the artifact's.
        path: of the file to write.
        images: N×H×W×3 uint8 images of the transform's size, to compare on.
        options: how the graph is made.

    Raises:
        ParityError: the graph does not agree; nothing is written.
        OutputError: the folder cannot be written.
    """
    graph = graph_of(checkpoint, options)
    network = checkpoint.network(features_only=options.features_only)
    parity = measure_parity(graph.model, torch_reference(network), images, checkpoint.eval)
    require_parity(parity, "fp32", path.name)
    return write_artifact(graph, path, scheme="fp32", parity=parity)
