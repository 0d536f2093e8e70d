"""The float graph of a network, and what the manifests of its files say about it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgenext.export.foreign_graph import own_graph
from edgenext.export.onnx import onnx_graph, tensor_spec
from edgenext.export.settings import ExportSettings
from edgenext.formats.artifact import Artifact
from edgenext.formats.embedded import weights_sha256
from edgenext.formats.onnx.metadata import clear
from edgenext.formats.session import Images, normalise
from edgenext.graph.load import read_model
from edgenext.models.checkpoint import Checkpoint
from edgenext.options import DEFAULT_OPSET
from edgenext.schema import Adoption, Division, EvalTransform, TensorSpec
from edgenext.targets.target import require_target

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Graph:
    """A float ONNX graph, and what the manifests of its artifacts say about it."""

    model: onnx.ModelProto
    arch: str
    num_classes: int
    labels: tuple[str, ...] | None
    transform: EvalTransform
    form: str
    target: str
    source: dict[str, str]
    class_names: tuple[str, ...] | None = None
    division: Division | None = None
    adopted: Adoption | None = None
    """Of a graph that others made."""
    checkpoint: Checkpoint | None = None
    """Its network; None if the graph was read from a file."""

    @property
    def input(self) -> TensorSpec:
        """Name, shape and type of its input."""
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
        UsageError: an unsupported opset or batch.
        CheckpointError: weights that are not finite.
    """
    transform = checkpoint.eval
    model = onnx_graph(
        checkpoint.network(features_only=settings.features_only),
        settings.form,
        (transform.size, transform.size),
        batch=settings.batch,
        opset=DEFAULT_OPSET if settings.opset is None else settings.opset,
        pixels=transform if settings.pixels else None,
        cast_first=require_target(settings.target).cast_first,
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
        checkpoint.class_names,
        checkpoint.division,
        checkpoint=checkpoint,
    )


def read_graph(artifact: Artifact) -> Graph:
    """The graph inside an ONNX artifact; of an adopted file see `own_graph`.

    Raises:
        ArtifactError: the file is not a valid ONNX graph.
    """
    m = artifact.manifest
    source = {"artifact": artifact.path.name, "sha256": m.sha256}
    if weights := weights_sha256(m):
        source["weights_sha256"] = weights
    model, adopted = read_model(artifact.path), m.adopted
    if adopted:
        model = own_graph(model, m)
        adopted = adopted.model_copy(update={"probabilities": False})
    clear(model)
    return Graph(
        model,
        m.arch,
        m.num_classes,
        m.labels,
        m.eval,
        m.form,
        m.target,
        source,
        m.class_names,
        m.division,
        adopted,
    )
