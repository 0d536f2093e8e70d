"""The inputs of layers as the rows of the matrices that they multiply by their weights."""

from __future__ import annotations

from collections.abc import Mapping
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


def row_count(x: NDArray[Any], size: int) -> int:
    """How many rows `input_rows` has."""
    if x.ndim == 2:
        return len(x)
    n, _, h, w = x.shape
    return int(n * (h // size) * (w // size))


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

    def rows(self, name: str, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The rows of an input that are kept of this batch."""
        size = self.sizes[name]
        count = row_count(x, size)
        if count not in self._at:
            images = self.batches * len(x)
            most = len(x) * int(np.clip(KEPT // images, FEWEST, MOST))
            picked = self._rng.choice(count, most, replace=False) if count > most else None
            self._at[count] = picked
        return input_rows(x, size, self._at[count])
