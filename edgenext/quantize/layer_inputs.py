"""The inputs of layers as the rows of the matrices that they multiply by their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

KEPT = 1 << 14
"""Rows of a layer's input that are kept of all calibration images together."""
FEWEST, MOST = 16, 256
"""Rows of each image, at least and at most: neighbouring positions are nearly equal."""

Positions = NDArray[np.integer]


def kernel_size(node: ir.Node) -> int:
    """Height and width of a convolution's kernel; 1 of a linear layer."""
    weight = node.inputs[1]
    assert weight is not None and weight.const_value is not None  # noqa: S101 - a layer has weights
    shape = weight.const_value.shape.numpy()
    return shape[2] if len(shape) == 4 else 1


def row_count(shape: Sequence[int], size: int) -> int:
    """How many rows `input_rows` has of an input of a shape."""
    if len(shape) == 2:
        return shape[0]
    n, _, h, w = shape
    return n * (h // size) * (w // size)


def input_rows(x: NDArray[Any], size: int, at: Positions | None = None) -> NDArray[Any]:
    """A layer's input, position by position.

    Convolutions that are not depth-wise are 1×1, or cut the image into patches.

    Args:
        x: N×C or N×C×H×W.
        size: height and width of the kernel; of a depth-wise convolution 1.
        at: the positions that are wanted, in order; None: all of them.

    Returns:
        positions × C, or positions × C × size × size for patches.
    """
    if x.ndim == 2:
        return x if at is None else x[at]
    n, c, h, w = x.shape
    height, width = h // size, w // size
    patches = x[:, :, : height * size, : width * size].reshape(n, c, height, size, width, size)
    at = np.arange(n * height * width) if at is None else at
    image, place = np.divmod(at, height * width)
    row, column = np.divmod(place, width)
    rows = patches[image, :, row, :, column, :]
    return rows if size > 1 else rows[:, :, 0, 0]


@dataclass
class RowSampler:
    """Picks rows of layer inputs, batch by batch.

    Inputs with as many positions are read at the same ones, so that rows of a gate's input and of
    its output belong together.

    Args:
        sizes: the kernel size of each input that is read, by its tensor's name.
        batches: how many there are.
    """

    sizes: Mapping[str, int]
    batches: int
    _rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))
    _at: dict[int, Positions | None] = field(default_factory=dict)

    def next_batch(self) -> None:
        """Other positions from now on."""
        self._at.clear()

    def shape(self, name: str, shape: Sequence[int]) -> tuple[int, ...]:
        """The shape of the rows of an input that are kept of a batch."""
        size = self.sizes[name]
        rows = min(row_count(shape, size), self._most(shape[0]))
        return (rows, shape[1]) if size == 1 else (rows, shape[1], size, size)

    def _most(self, images: int) -> int:
        """The most rows of a batch that are kept."""
        return images * int(np.clip(KEPT // (self.batches * images), FEWEST, MOST))

    def positions(self, name: str, shape: Sequence[int]) -> Positions | None:
        """The rows of an input that are kept of this batch; None: all of them."""
        count = row_count(shape, self.sizes[name])
        if count not in self._at:
            most = self._most(shape[0])
            picked = self._rng.choice(count, most, replace=False) if count > most else None
            self._at[count] = picked
        return self._at[count]
