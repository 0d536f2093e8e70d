"""Published parameter names of EdgeNeXt from those of timm.

timm has the same tensors, of the same shapes, in other modules: the stem and the downsampling
layers are part of the stages, the norm is part of the head, and some layers have other names. A
backbone of timm (`features_only=True`) has neither norm nor head, and `stages_1` is its name of
`stages.1`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_RULES = (
    (r"^(stem|stages)_(\d+)\.", r"\1.\2."),
    (r"^stem\.", "downsample_layers.0."),
    (r"^stages\.(\d+)\.downsample\.", r"downsample_layers.\1."),
    (r"^stages\.(\d+)\.blocks\.", r"stages.\1."),
    (r"\.conv_dw\.", ".dwconv."),
    (r"\.mlp\.fc([12])\.", r".pwconv\1."),
    (r"^head\.norm\.", "norm."),
    (r"^head\.fc\.", "head."),
)
_MARKS = re.compile(r"^stem[._]|^stages[._]\d+\.(blocks|downsample)\.|^head\.(fc|norm)\.")


def is_timm(names: Iterable[str]) -> bool:
    """Whether any of the parameter names is used only by timm."""
    return any(_MARKS.search(name) for name in names)


def published_name(name: str) -> str:
    """The published name of a parameter of timm; other names are returned unchanged."""
    for pattern, replacement in _RULES:
        name = re.sub(pattern, replacement, name)
    return name
