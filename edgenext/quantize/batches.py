"""Images as a graph's inputs, one batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from edgenext.data.pixels import Pixels
from edgenext.export.deployment_graph import Graph
from edgenext.export.onnx import call_size

Batches = Sequence[NDArray[Any]]
"""Prepared inputs of the graph's batch size, each made when it is read."""


@dataclass(frozen=True)
class ImageBatches(Sequence[NDArray[Any]]):
    """N×H×W×3 uint8 images as inputs of a graph's batch size, prepared one batch at a time.

    An incomplete last batch is left out; a set smaller than one batch is repeated to fill it.
    """

    graph: Graph
    images: Pixels

    @property
    def size(self) -> int:
        """Images in a batch."""
        return call_size(self.graph.model)

    def __len__(self) -> int:
        return max(len(self.images) // self.size, 1)

    @overload
    def __getitem__(self, index: int) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[NDArray[Any]]: ...
    def __getitem__(self, index: int | slice) -> NDArray[Any] | list[NDArray[Any]]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        part = self.images[index * self.size : (index + 1) * self.size]
        return self.graph.prepare(np.resize(part, (self.size, *part.shape[1:])))
