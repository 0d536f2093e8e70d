"""Which tensor holds what a site gives, and how to find it again in another file by its values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from numpy.typing import NDArray

from edgenext.graph.sites import find_sites

Array = NDArray[Any]

SAMPLED = 4096
"""Values by which candidates are judged before the best is compared in whole."""


def site_tensors(model: onnx.ModelProto) -> dict[str, str]:
    """Site → the tensor with its output, of a float deployment graph, in graph order."""
    graph = ir.from_proto(model).graph
    place = {node: i for i, node in enumerate(graph)}
    last = {name: site.nodes[-1] for name, site in find_sites(graph).items()}
    ordered = sorted(last.items(), key=lambda item: place[item[1]])
    return {name: str(node.outputs[0].name) for name, node in ordered}


def turned(value: Array) -> list[Array]:
    """A tensor as it is, and with the channels moved last and first."""
    if value.ndim <= 2:
        return [value]
    return [value, np.moveaxis(value, 1, -1), np.moveaxis(value, -1, 1)]


def noise(reference: Array, other: Array) -> tuple[float, float]:
    """Energy of a tensor and of another's difference from it, in the layout that fits best."""
    flat = other.reshape(-1).astype(np.float64)
    views = [view.reshape(-1).astype(np.float64) for view in turned(reference)]
    pairs = ((float(np.square(v).sum()), float(np.square(v - flat).sum())) for v in views)
    return min(pairs, key=lambda pair: pair[1])


def locate(wanted: Mapping[str, Array], traced: Mapping[str, Array]) -> dict[str, str]:
    """Each wanted tensor → the traced tensor whose values are nearest, whatever its layout.

    What no traced tensor has the size of is left out; of equals the first is taken.
    """
    by_size: dict[int, list[tuple[str, Array]]] = {}
    for name, value in traced.items():
        by_size.setdefault(value.size, []).append((name, value.reshape(-1)))
    found = {}
    for name, value in wanted.items():
        candidates = by_size.get(value.size)
        if not candidates:
            continue
        step = max(value.size // SAMPLED, 1)
        views = [view.reshape(-1)[::step].astype(np.float64) for view in turned(value)]
        distances = [
            min(float(np.square(view - flat[::step]).sum()) for view in views)
            for _, flat in candidates
        ]
        found[name] = candidates[int(np.argmin(distances))][0]
    return found
