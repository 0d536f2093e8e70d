"""Architectures and published checkpoints by name. torch is imported only to build a network."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from edgenext.errors import UsageError, unknown_name
from edgenext.schema import FEATURES, EvalTransform, FeatureLayout, FeatureMap, ModelCard
from edgenext.system.packaged import packaged_toml

if TYPE_CHECKING:
    from edgenext.models.network import Arch, EdgeNeXt

DEFAULT_MODEL = "edgenext_small"
IMAGENET_CLASSES = 1000
STRIDES = (4, 8, 16, 32)
"""Pixels of the image for a step along a row or column of each stage's feature map."""
MIN_SIZE = 32
"""The smallest side in pixels: the network halves it five times."""
MAX_CLASSES = 1_000_000
"""The most outputs of a head: far above every published data set's, far below memory."""
MAX_SIZE = 4096
"""The largest side in pixels: above it, one image's tensors do not fit into memory."""


@cache
def arch_table() -> dict[str, dict[str, Any]]:
    """The rows of `archs.toml` by architecture name."""
    return packaged_toml("edgenext.models", "archs.toml")


@cache
def checkpoint_table() -> dict[str, dict[str, Any]]:
    """The rows of `zoo.toml` by checkpoint name, with the download address added as `url`."""
    zoo = packaged_toml("edgenext.models", "zoo.toml")
    return {
        row["name"]: row | {"url": zoo["release"]["url"].format(**row)} for row in zoo["checkpoint"]
    }


@cache
def imagenet_wnids() -> tuple[str, ...]:
    """The 1000 ImageNet-1k class ids, in the order of the published heads."""
    text = resources.files("edgenext.models").joinpath("imagenet_wnids.txt").read_text()
    return tuple(text.split())


def cards() -> list[ModelCard]:
    """The published checkpoints, in the order of `zoo.toml`."""
    return [
        ModelCard(
            name=name,
            arch=row["arch"],
            params=arch_table()[row["arch"]]["params"],
            macs_256=arch_table()[row["arch"]]["macs_256"],
            top1=row["top1"],
            eval=EvalTransform(crop_pct=row["crop_pct"]),
            timm_crop_pct=row.get("timm_crop_pct"),
        )
        for name, row in checkpoint_table().items()
    ]


def card(name: str) -> ModelCard:
    """The card of a published checkpoint.

    Raises:
        UsageError: no such model; the nearest names are suggested.
    """
    by_name = {c.name: c for c in cards()}
    if name not in by_name:
        raise unknown_name("model", name, by_name)
    return by_name[name]


def arch(name: str) -> Arch:
    """An architecture by its name or by that of a published checkpoint.

    Raises:
        UsageError: no such model; the nearest names are suggested.
    """
    from edgenext.models.network import Arch

    if name not in arch_table():
        name = card(name).arch
    row: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in arch_table()[name].items()
    }
    return Arch(**row)


def create_model(
    name: str, num_classes: int = 1000, *, drop_path: float = 0.0, features_only: bool = False
) -> EdgeNeXt:
    """A reference network with freshly initialised weights, in training mode.

    Args:
        name: an architecture, or a published checkpoint for its architecture.
        num_classes: outputs of the head.
        drop_path: stochastic depth rate of the last block; the rates rise linearly from 0.
        features_only: return the four stage outputs instead of logits: see `EdgeNeXt.channels` and
            `EdgeNeXt.strides`.

    Raises:
        UsageError: no such model, a class count below 1, or a rate outside [0, 1).

    >>> network = create_model("edgenext_xx_small", num_classes=10)
    >>> sum(parameter.numel() for parameter in network.parameters())
    1159906
    """
    from edgenext.models.network import EdgeNeXt

    if not features_only:
        check_classes(num_classes)
    if not 0 <= drop_path < 1:
        raise UsageError(f"drop_path must be at least 0 and below 1, not {drop_path}")
    return EdgeNeXt(arch(name), num_classes, drop_path, features_only)


def feature_maps(name: str, layout: FeatureLayout = "NCHW") -> tuple[FeatureMap, ...]:
    """The outputs of an architecture's backbone, in a layout.

    Raises:
        UsageError: no such model.
    """
    channels = arch(name).dims
    return tuple(
        FeatureMap(name=output, stride=stride, channels=width, layout=layout)
        for output, stride, width in zip(FEATURES, STRIDES, channels, strict=True)
    )


def check_classes(num_classes: int) -> None:
    """Check that a head can have this many classes.

    Raises:
        UsageError: it is below 1 or above a million.
    """
    if num_classes < 1:
        raise UsageError(f"a head needs at least one class, not {num_classes}")
    if num_classes > MAX_CLASSES:
        raise UsageError(
            f"a head of {num_classes} classes is too large", f"Use at most {MAX_CLASSES}"
        )


def check_size(height: int, width: int) -> None:
    """Check that the network can process images of this size.

    Raises:
        UsageError: a side below 32 or above 4096 pixels.
    """
    if min(height, width) < MIN_SIZE:
        raise UsageError(
            f"{height}×{width} is too small: EdgeNeXt halves the image five times",
            f"Use at least {MIN_SIZE} pixels per side",
        )
    if max(height, width) > MAX_SIZE:
        raise UsageError(
            f"{height}×{width} is too large: one image would not fit into memory",
            f"Use at most {MAX_SIZE} pixels per side",
        )
