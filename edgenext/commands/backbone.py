"""The backbone of a model as a torch module."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from edgenext.commands.context import Context
from edgenext.options import MODEL
from edgenext.options import ModelOptions as ModelOptions

if TYPE_CHECKING:
    from edgenext.models.network import EdgeNeXt


def backbone(
    model: str | None = None,
    model_options: ModelOptions = MODEL,
    *,
    context: Context | None = None,
) -> EdgeNeXt:
    """The backbone of a model, to put a head for detection or segmentation on.

    It is the network that `edgenext export --features` writes: a torch module in evaluation mode
    that takes N×3×H×W normalised images and returns a list of four feature maps, N×C×H×W, whose
    `channels` and `strides` it tells. To train it, call `.train()`; to export it then, save its
    `state_dict()` and name that file as the weights.

    Args:
        model: name; None for `edgenext_small`, or the one that the weights fit.
        model_options: where the weights come from. A classifier's weights will do, of which the
            head is left out, and so will those of a backbone, also timm's.
        context: what was loaded before.

    Raises:
        UsageError: an unknown model.
        CheckpointError: weights that do not fit.

    >>> model = ModelOptions(random_weights=True)
    >>> network = backbone("edgenext_xx_small", model)
    >>> network.channels, network.strides
    ((24, 48, 88, 168), (4, 8, 16, 32))
    """
    options = replace(model_options, backbone=True)
    checkpoint = (context or Context()).checkpoint(model, options)
    return checkpoint.network(features_only=True)
