"""Pixels of a subset without a copy of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray


class PixelView:
    """Chosen images of an array N×H×W×3 uint8, copied only when they are read.

    It can be sliced and indexed like the array, and `np.asarray` copies all of it.
    """

    def __init__(self, base: NDArray[np.uint8], index: NDArray[np.int64]) -> None:
        self._base, self._index = base, index

    @staticmethod
    def of(pixels: Pixels, index: NDArray[np.int64]) -> Pixels:
        """The images at these positions of an array or of another view."""
        if isinstance(pixels, PixelView):
            return PixelView(pixels._base, pixels._index[index])
        return PixelView(pixels, index)

    @property
    def shape(self) -> tuple[int, ...]:
        """Images, height, width, channels."""
        return (len(self._index), *self._base.shape[1:])

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, key: int | slice | NDArray[np.integer]) -> NDArray[np.uint8]:
        chosen: NDArray[np.uint8] = self._base[self._index[key]]
        return chosen

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self._base[i] for i in self._index)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("a view of chosen images is no array without a copy")
        return np.asarray(self[:], dtype)


Pixels = NDArray[np.uint8] | PixelView
"""Images N×H×W×3 uint8: an array, or a view of some of one."""
