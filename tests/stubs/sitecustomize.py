"""Makes torchvision importable beside another build of torch; read by Python when it starts.

The wheel on PyPI may be built for torch with CUDA. Beside torch's CPU build its library does not
load, and its import fails for want of two operators that training does not use: they are declared
here.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder
from pathlib import Path

_kept = []
"""What was declared is forgotten with the object that declared it."""


class _DeclareOperators(MetaPathFinder):
    """Declares the operators when torchvision is imported; finds nothing itself."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "torchvision":
            sys.meta_path.remove(self)
            if spec := PathFinder.find_spec(name):
                _declare(Path(str(spec.origin)).parent)


def _declare(package: Path) -> None:
    import ctypes

    import torch

    for library in package.glob("_C*.so"):
        with suppress(OSError):
            ctypes.CDLL(str(library))
            return
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _kept.append(library)


sys.meta_path.insert(0, _DeclareOperators())
