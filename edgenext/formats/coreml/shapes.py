"""Core ML's operators that move, select and pad values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from edgenext.formats.coreml.arguments import Arguments


def concat(a: Arguments) -> Tensor:
    """Concatenation along an axis."""
    if a.flag("interleave"):
        raise NotImplementedError("interleave")
    return torch.cat(a["values"], a.integer("axis"))


def split(a: Arguments) -> Sequence[Tensor]:
    """Parts of given sizes along an axis, or a number of equal parts."""
    x, axis = a["x"], a.integer("axis")
    if "split_sizes" in a:
        return torch.split(x, a.ints("split_sizes"), axis)
    return torch.chunk(x, a.integer("num_splits"), axis)


def slice_by_index(a: Arguments) -> Tensor:
    """NumPy's slicing; masks say which bounds are open and which axes are indexed."""
    x, begin, end = a["x"], a.ints("begin"), a.ints("end")
    stride = a.ints("stride") if "stride" in a else [1] * x.dim()
    from_start, to_end, index = (
        a.flags(f"{name}_mask", x.dim()) for name in ("begin", "end", "squeeze")
    )
    slices: list[int | slice] = []
    for i in range(x.dim()):
        first, last = None if from_start[i] else begin[i], None if to_end[i] else end[i]
        slices.append(begin[i] if index[i] else slice(first, last, stride[i]))
    # in NumPy, because torch has no negative steps
    return torch.from_numpy(np.ascontiguousarray(np.asarray(x.numpy()[tuple(slices)])))


def slice_by_size(a: Arguments) -> Tensor:
    """A block of a given size; a size of −1 is the rest of the axis."""
    x: Tensor = a["x"]
    for axis, (start, size) in enumerate(zip(a.ints("begin"), a.ints("size"), strict=True)):
        start %= x.shape[axis]
        x = x.narrow(axis, start, x.shape[axis] - start if size == -1 else size)
    return x


def reshape(a: Arguments) -> Tensor:
    """The same values in another shape; 0 keeps the size of an axis, −1 takes the rest."""
    x: Tensor = a["x"]
    shape = [x.shape[i] if n == 0 else n for i, n in enumerate(a.ints("shape"))]
    return x.reshape(shape)


def squeeze(a: Arguments) -> Tensor:
    """`x` without the given axes of size 1, or without all of them."""
    x: Tensor = a["x"]
    return x.squeeze(tuple(a.ints("axes"))) if "axes" in a else x.squeeze()


def expand_dims(a: Arguments) -> Tensor:
    """`x` with axes of size 1 inserted at positions of the result."""
    x: Tensor = a["x"]
    axes = a.ints("axes")
    for axis in sorted(i % (x.dim() + len(axes)) for i in axes):
        x = x.unsqueeze(axis)
    return x


def gather(a: Arguments) -> Tensor:
    """Slices of an axis, by index."""
    if "batch_dims" in a and a.integer("batch_dims"):
        raise NotImplementedError("batch_dims")
    x: Tensor = a["x"]
    indices: Tensor = a["indices"]
    axis = a.integer("axis") % x.dim()
    slices = x.index_select(axis, indices.long().reshape(-1) % x.shape[axis])
    return slices.reshape(*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])


def padded(x: Tensor, pads: Sequence[int], value: float = 0) -> Tensor:
    """`x` with `pads` before and after each of its last axes."""
    # torch takes the pads of the last axis first
    pairs = [pads[i : i + 2] for i in range(0, len(pads), 2)]
    order = [n for pair in reversed(pairs) for n in pair]
    return F.pad(x, order, value=value) if any(order) else x


def pad(a: Arguments) -> Tensor:
    """Padding of the last axes."""
    x, pads, mode = a["x"], a.ints("pad"), a["mode"]
    if mode == "constant":
        return padded(x, pads, a.number("constant_val"))
    widths = [(0, 0)] * (x.dim() - len(pads) // 2) + list(zip(pads[::2], pads[1::2], strict=True))
    array = x.numpy()
    return torch.from_numpy(
        np.pad(array, widths, "reflect") if mode == "reflect" else np.pad(array, widths, "edge")
    )
