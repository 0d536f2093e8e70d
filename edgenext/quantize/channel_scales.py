"""Channel scales with the least noise: of a residual stream, and between a norm and its layer.

Tensors that are added, split or concatenated share their channels' scales. Scales therefore belong
to classes of channels, which are traced through these operators.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from edgenext.graph.sites import find_sites
from edgenext.quantize.calibrate import Floats, TensorStats
from edgenext.quantize.ranges import snap

NORM_EXPONENTS = (0.25, 0.5, 0.75, 1.0)
"""Shares of a norm's unevenness that are tried in the weights behind it."""

SHARPNESS = 16.0
"""Of the smooth maximum in the search for a stream's scales."""

PULL = 0.01
"""Weight of the penalty that pulls log scales towards 0: useless changes are not made."""

SMALLEST = 1e-3
"""Least magnitude of a channel, as a share of the tensor's largest: smaller ones count as this."""


@dataclass(frozen=True)
class Stream:
    """Tensors that share scales, the class of each of their channels, and the number of classes."""

    tensors: tuple[ir.Value, ...]
    classes: tuple[NDArray[np.int64], ...]
    count: int


def scale_sharing_nodes(graph: ir.Graph) -> list[ir.Node]:
    """The nodes whose tensors share their channels' scales: sums, splits and concatenations."""
    sites = find_sites(graph).values()
    return [n for s in sites if s.kind in ("residual", "routing") for n in s.nodes]


def find_streams(graph: ir.Graph) -> list[Stream]:
    """The residual streams: one a stage, with the branches that are added to it."""
    pairs: list[tuple[tuple[ir.Value, int], tuple[ir.Value, int]]] = []
    tensors: dict[ir.Value, None] = {}
    for node in scale_sharing_nodes(graph):
        for joined, part, offset in _parts(node):
            pairs += [((joined, offset + c), (part, c)) for c in range(_channel_count(part))]
            tensors |= dict.fromkeys((joined, part))
    start = np.cumsum([0, *map(_channel_count, tensors)])
    first = dict(zip(tensors, start[:-1].tolist(), strict=True))
    rows = [first[v] + c for (v, c), _ in pairs]
    columns = [first[v] + c for _, (v, c) in pairs]
    size = int(start[-1])
    _, label = connected_components(coo_array((np.ones(len(rows)), (rows, columns)), (size, size)))
    return _group_tensors(list(tensors), first, np.asarray(label, np.int64))


def _group_tensors(
    tensors: Sequence[ir.Value], first: Mapping[ir.Value, int], label: NDArray[np.int64]
) -> list[Stream]:
    """Streams from the class of every channel: tensors with a class in common belong together."""
    groups: list[tuple[set[int], list[ir.Value]]] = []
    for value in tensors:
        own = set(label[first[value] : first[value] + _channel_count(value)].tolist())
        joined = [g for g in groups if g[0] & own]
        merged = (own.union(*(g[0] for g in joined)), [v for g in joined for v in g[1]] + [value])
        groups = [g for g in groups if g not in joined] + [merged]
    streams = []
    for classes, values in groups:
        index = {c: i for i, c in enumerate(sorted(classes))}
        of = tuple(
            np.array([index[c] for c in label[first[v] : first[v] + _channel_count(v)].tolist()])
            for v in values
        )
        streams.append(Stream(tuple(values), of, len(index)))
    return streams


def _parts(node: ir.Node) -> list[tuple[ir.Value, ir.Value, int]]:
    """(joined tensor, part, first channel of the part) of a sharing operator, without constants."""
    if node.op_type == "Add":
        out = node.outputs[0]
        return [(out, v, 0) for v in node.inputs if v is not None and v.const_value is None]
    split = node.op_type == "Split"
    joined = node.inputs[0] if split else node.outputs[0]
    parts, offset = [], 0
    for part in node.outputs if split else node.inputs:
        if joined is not None and part is not None:
            parts.append((joined, part, offset))
            offset += _channel_count(part)
    return parts


def balance_stream(
    stream: Stream, stats: Mapping[str, TensorStats]
) -> tuple[dict[ir.Value, Floats], float]:
    """Scales of a stream's channels, and the mean reduction of its tensors' noise in dB."""
    reach = [_with_floor(stats[str(v.name)].reach) for v in stream.tensors]

    def cost(z: Floats) -> tuple[float, Floats]:
        total, slope = PULL * float(z @ z), 2 * PULL * z
        for r, of in zip(reach, stream.classes, strict=True):
            relative = SHARPNESS * (np.log(r) - z[of])
            top = relative.max()
            power = np.exp(relative - top)
            energy = np.exp(2 * z[of])
            total += 2 / SHARPNESS * (top + np.log(power.sum())) + np.log(energy.sum())
            np.add.at(slope, of, -2 * power / power.sum() + 2 * energy / energy.sum())
        return float(total), slope

    solution = minimize(cost, np.zeros(stream.count), jac=True, method="L-BFGS-B")
    scale = snap(np.exp(solution.x)).astype(np.float64)
    gain = [
        10 * np.log10(r.max() ** 2 / ((r / scale[of]).max() ** 2 * np.square(scale[of]).mean()))
        for r, of in zip(reach, stream.classes, strict=True)
    ]
    scales = {v: scale[of] for v, of in zip(stream.tensors, stream.classes, strict=True)}
    return scales, float(np.mean(gain))


def balance_norm(stats: TensorStats, weight: Floats, limit: int) -> Floats | None:
    """Channel scales between a norm and its layer with the least expected noise of the layer.

    Args:
        stats: of the norm's output.
        weight: outputs × channels × positions of the layer that reads it.
        limit: of the weights' levels.

    Returns:
        None where no scaling is best.
    """
    reach, largest = _with_floor(stats.reach), _with_floor(np.abs(weight).max((0, 2)))
    square = stats.square

    def noise(scale: Floats) -> float:
        scaled = weight * scale[None, :, None]
        step = 2 * (reach / scale).max() / 255
        rows = np.abs(scaled).max((1, 2)) / limit
        reads = (square / np.square(scale)).sum() * weight.shape[2]
        return float(step**2 * np.square(scaled).sum() + np.square(rows).sum() * reads)

    candidates: list[Floats] = [np.ones_like(reach)]
    for exponent in NORM_EXPONENTS:
        scale = reach**exponent / largest ** (1 - exponent)
        candidates.append(snap(scale / np.exp(np.log(scale).mean())).astype(np.float64))
    best = min(range(len(candidates)), key=lambda i: noise(candidates[i]))
    return candidates[best] if best else None


def _with_floor(values: Floats) -> Floats:
    """Channel magnitudes with a floor, so that empty channels have a logarithm."""
    return np.maximum(values, max(SMALLEST * float(values.max()), 1e-12))


def _channel_count(value: ir.Value) -> int:
    size = value.shape[1] if value.shape is not None else None
    assert isinstance(size, int)  # noqa: S101 - shapes were inferred, and channels are fixed
    return size
