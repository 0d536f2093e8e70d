"""The output tensors of sites, and how to find them in another file by their values."""

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
"""Values of a tensor, at most, by which candidates are compared."""


def site_tensors(model: onnx.ModelProto) -> dict[str, str]:
    """Site → the name of its output tensor in a float deployment graph, in graph order."""
    graph = ir.from_proto(model).graph
    position = {node: i for i, node in enumerate(graph)}
    last = {name: site.nodes[-1] for name, site in find_sites(graph).items()}
    ordered = sorted(last.items(), key=lambda item: position[item[1]])
    return {name: str(node.outputs[0].name) for name, node in ordered}


def layouts(value: Array) -> list[Array]:
    """A tensor as it is, with axis 1 moved last, and with the last axis moved to 1."""
    if value.ndim <= 2:
        return [value]
    return [value, np.moveaxis(value, 1, -1), np.moveaxis(value, -1, 1)]


def signal_and_noise(reference: Array, other: Array) -> tuple[float, float]:
    """Energy of a reference and of another tensor's difference from it, in the nearest layout.

    The layout is chosen by a few of the values.
    """
    step = other.size // SAMPLED | 1  # odd: not a multiple of most dimensions
    sample = other.reshape(-1)[::step].astype(np.float64)
    views = [view.reshape(-1) for view in layouts(reference)]
    view = min(views, key=lambda v: float(np.square(v[::step] - sample).sum()))
    signal = view.astype(np.float64)
    noise = signal - other.reshape(-1)
    return float(np.vdot(signal, signal)), float(np.vdot(noise, noise))


def locate_tensors(references: Mapping[str, Array], traced: Mapping[str, Array]) -> dict[str, str]:
    """Each reference tensor → the traced tensor with the nearest values, in any layout.

    Reference tensors without a traced tensor of their size are omitted; of equally near ones the
    first is taken.
    """
    by_size: dict[int, list[tuple[str, Array]]] = {}
    for name, value in traced.items():
        by_size.setdefault(value.size, []).append((name, value.reshape(-1)))
    locations = {}
    for name, value in references.items():
        candidates = by_size.get(value.size)
        if not candidates:
            continue
        step = max(value.size // SAMPLED, 1)
        views = [view.reshape(-1)[::step].astype(np.float64) for view in layouts(value)]
        distances = [
            min(float(np.square(view - flat[::step]).sum()) for view in views)
            for _, flat in candidates
        ]
        locations[name] = candidates[int(np.argmin(distances))][0]
    return locations
