"""How close two tensors of one site are, regardless of their layout and channel scales."""

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
"""What is fitted in each channel before two tensors are compared."""
Layout = tuple[int, int, int]
"""The order of the axes, the number of channels, and the values inside each."""


@dataclass
class Tally:
    """Sums over the images of one site, from which its SQNR follows."""

    fit: Fit
    signal: float = 0.0
    noise: float = 0.0
    broken: bool = False
    """A value is not a number."""
    unlike: bool = False
    """The tensors differ in size."""
    sums: dict[Layout, Array] = field(default_factory=dict)
    """A possible layout of the channels → six sums for each channel."""

    def add(self, a: Array, b: Array) -> None:
        """Add the tensors of some images."""
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
        for layout, x, y in _channels(a, b):
            self.sums[layout] = self.sums.get(layout, 0) + _moments(x, y)

    def sqnr_db(self) -> float:
        """SQNR of all images so far, in dB; if fitted, in the layout that leaves least noise."""
        if self.broken:
            return -MOST_DB
        if self.fit:
            energies = [_residual(sums, self.fit) for sums in self.sums.values()]
            self.signal, self.noise = min(energies, key=lambda pair: pair[1])
        return round(sqnr_db(self.signal, self.noise), 2)


def _channels(a: Array, b: Array) -> Iterator[tuple[Layout, Array, Array]]:
    """Both tensors as outer×channels×inner, in every possible layout of their channels."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    pairs = [(x, b) for x in layouts(a)]
    if a.shape != b.shape:
        pairs += [(a, y) for y in layouts(b)[1:]]
    for order, (x, y) in enumerate(pairs):
        splits = {
            (shape[axis], math.prod(shape[axis + 1 :]))
            for shape in (x.shape, y.shape)
            for axis in (min(1, len(shape) - 1), len(shape) - 1)
        }
        for count, inner in sorted(splits):
            as_channels = (-1, count, inner)
            yield (order, count, inner), x.reshape(as_channels), y.reshape(as_channels)


def _moments(x: Array, y: Array) -> Array:
    """Per channel: the number of values; sums of both, of their squares and of their product."""
    count = np.full(x.shape[1], x.shape[0] * x.shape[2], np.float64)
    products = [np.einsum("oci,oci->c", *pair) for pair in ((x, x), (x, y), (y, y))]
    return np.stack([count, x.sum((0, 2)), y.sum((0, 2)), *products])


def _residual(sums: Array, fit: Fit) -> tuple[float, float]:
    """Energy of the first tensor, and of its difference from the fitted second one.

    Where offsets are fitted, they do not count as signal.
    """
    count, x, y, xx, xy, yy = sums
    if fit == "scale and offset":
        xx, xy, yy = xx - x * x / count, xy - x * y / count, yy - y * y / count
    explained = np.divide(xy * xy, yy, out=np.zeros_like(yy), where=yy > 0)
    return float(xx.sum()), float(np.maximum(xx - explained, 0).sum())
