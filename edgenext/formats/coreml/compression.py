"""Core ML's operators that quantize, dequantize and decompress."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from edgenext.formats.coreml.arguments import Arguments


def along_axis(values: Tensor, x: Tensor, a: Arguments) -> Tensor:
    """Scales or zero points, reshaped to broadcast along the axis; scalars are unchanged."""
    if values.dim() == 0:
        return values
    shape = [1] * x.dim()
    shape[a.integer("axis")] = -1
    return values.reshape(shape)


def quantize(a: Arguments) -> Tensor:
    """clip(round(x / scale) + zero_point), ties to even, as floats."""
    x: Tensor = a["input"]
    low, high = {"int8": (-128, 127), "uint8": (0, 255)}[a["output_dtype"]]
    y = torch.round(x / along_axis(a["scale"], x, a))
    if "zero_point" in a:
        y = y + along_axis(a["zero_point"], x, a)
    return y.clamp(low, high)


def dequantize(a: Arguments) -> Tensor:
    """(x − zero_point) · scale."""
    x: Tensor = a["input" if "input" in a else "quantized_data"]
    y = x.float()
    if "zero_point" in a:
        y = y - along_axis(a["zero_point"], x, a)
    return y * along_axis(a["scale"], x, a)


def blockwise_shift_scale(a: Arguments) -> Tensor:
    """(data − offset) · scale, with an offset and a scale for each block of the data."""
    data: Tensor = a["data"]
    scale: Tensor = a["scale"]
    blocks = [n // m for n, m in zip(data.shape, scale.shape, strict=True)]
    y = data.float()
    if "offset" in a:
        y = y - repeated(a["offset"], blocks)
    return y * repeated(scale, blocks)


def repeated(x: Tensor, times: Sequence[int]) -> Tensor:
    """`x` with every element repeated along each axis."""
    for axis, n in enumerate(times):
        x = x.repeat_interleave(n, axis)
    return x


def lut_to_dense(a: Arguments) -> Tensor:
    """Weights from indices into a palette: one palette (iOS16) or one for each block (iOS18)."""
    lut: Tensor = a["lut"]
    indices: Tensor = a["indices"]
    if "shape" in a:
        bits = int(lut.numel()).bit_length() - 1
        return lut[unpacked(indices, bits, a.ints("shape"))]
    palettes, size = lut.shape[-2:]
    groups = torch.arange(lut.numel() // (palettes * size)).reshape(lut.shape[:-2])
    blocks = [n // m for n, m in zip(indices.shape, groups.shape, strict=True)]
    dense = lut.reshape(-1, palettes, size)[repeated(groups, blocks), indices]
    if "vector_axis" not in a:
        return dense.squeeze(-1)
    axis = a.integer("vector_axis") % indices.dim()
    return dense.movedim(-1, axis + 1).flatten(axis, axis + 1)


def unpacked(data: Tensor, bits: int, shape: Sequence[int]) -> Tensor:
    """Indices that were packed into bytes, the least significant bit first."""
    stream = np.unpackbits(data.numpy().astype(np.uint8), bitorder="little")
    count = int(np.prod(shape))
    values = stream[: count * bits].reshape(count, bits) @ (1 << np.arange(bits))
    return torch.from_numpy(values.reshape(shape))
