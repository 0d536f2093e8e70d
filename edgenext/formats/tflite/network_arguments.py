"""Input of the TensorFlow converter, which builds the network itself, channels last."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from edgenext.errors import UsageError
from edgenext.graph.forms import deployed_arrays

if TYPE_CHECKING:
    from edgenext.models.checkpoint import Checkpoint
    from edgenext.schema import TensorSpec


def network_arguments(
    checkpoint: Checkpoint | None, spec: TensorSpec, features_only: bool
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Architecture and sizes, as plain JSON, and the folded network's tensors.

    Args:
        checkpoint: the network; None if the graph was read from a file.
        spec: the input of the graph, float or pixels.
        features_only: a backbone.

    Raises:
        UsageError: there is no checkpoint.
    """
    if checkpoint is None:
        raise UsageError(
            "the TensorFlow converter builds the network itself, from a model's weights",
            "Start from a model, not from an exported file",
        )
    network, pixels = checkpoint.network(features_only=features_only), spec.dtype == "uint8"
    height, width = spec.shape[1:3] if pixels else spec.shape[2:4]
    arguments = {
        "arch": asdict(network.arch),
        "size": [height, width],
        "batch": spec.shape[0],
        "pixels": pixels,
    }
    transform = checkpoint.eval if pixels else None
    return arguments, deployed_arrays(network, height, width, transform)
