"""How near two tensors of one site are, whatever the layout and units of their channels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgenext.graph.tensors import layouts, signal_and_noise
from edgenext.metrics.fidelity import MOST_DB, sqnr_db

Array = NDArray[Any]
Fit = Literal["", "scale", "scale and offset"]
"""What is found for each channel before two tensors are compared."""


@dataclass
class Tally:
    """What is summed over the images of one site."""

    fit: Fit
    signal: float = 0.0
    noise: float = 0.0
    broken: bool = False
    """A value is no number."""
    unlike: bool = False
    """The tensors differ in size."""
    sums: dict[tuple[int, int, int], Array] = field(default_factory=dict)
    """How the channels may lie → five sums over each of them."""

    def add(self, a: Array, b: Array) -> None:
        """Take in some images."""
        self.unlike |= a.size != b.size
        self.broken |= not (np.isfinite(a).all() and np.isfinite(b).all())
        if self.unlike or self.broken:
            return
        if not self.fit:
            signal, error = signal_and_noise(a, b)
            if a.shape != b.shape:  # `signal_and_noise` turns its first tensor alone
                error = min(error, signal_and_noise(b, a)[1])
            self.signal, self.noise = self.signal + signal, self.noise + error
            return
        for way, x, y in _channels(a, b):
            self.sums[way] = self.sums.get(way, 0) + _moments(x, y)

    def sqnr_db(self) -> float:
        """Of everything so far; fitted, in the layout that leaves least noise."""
        if self.broken:
            return -MOST_DB
        if self.fit:
            left = [_residual(sums, self.fit) for sums in self.sums.values()]
            self.signal, self.noise = min(left, key=lambda pair: pair[1])
        return round(sqnr_db(self.signal, self.noise), 2)


def _channels(a: Array, b: Array) -> Iterator[tuple[tuple[int, int, int], Array, Array]]:
    """Both tensors as outer×channels×inner, in every way in which their channels may lie."""
    wide = a.astype(np.float64), b.astype(np.float64)
    pairs = [(x, wide[1]) for x in layouts(wide[0])]
    if a.shape != b.shape:
        pairs += [(wide[0], y) for y in layouts(wide[1])[1:]]
    for order, (x, y) in enumerate(pairs):
        ways = {
            (shape[axis], math.prod(shape[axis + 1 :]))
            for shape in (x.shape, y.shape)
            for axis in (min(1, len(shape) - 1), len(shape) - 1)
        }
        for count, inner in sorted(ways):
            as_channels = (-1, count, inner)
            yield (order, count, inner), x.reshape(as_channels), y.reshape(as_channels)


def _moments(x: Array, y: Array) -> Array:
    """Per channel: how many values, the sums of both, and of their squares and product."""
    count = np.full(x.shape[1], x.shape[0] * x.shape[2], np.float64)
    products = [np.einsum("oci,oci->c", *pair) for pair in ((x, x), (x, y), (y, y))]
    return np.stack([count, x.sum((0, 2)), y.sum((0, 2)), *products])


def _residual(sums: Array, fit: Fit) -> tuple[float, float]:
    """Energy of the first tensor, and of what the second leaves of it after the fit.

    Where offsets are fitted, they are no signal either.
    """
    count, x, y, xx, xy, yy = sums
    if fit == "scale and offset":
        xx, xy, yy = xx - x * x / count, xy - x * y / count, yy - y * y / count
    explained = np.divide(xy * xy, yy, out=np.zeros_like(yy), where=yy > 0)
    return float(xx.sum()), float(np.maximum(xx - explained, 0).sum())
