"""Activations of an integer file: their scales, bit widths and order of axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir

from edgenext.errors import ArtifactError
from edgenext.formats.ethos_u.norms import constant_of
from edgenext.formats.ethos_u.ranges import Ranges
from edgenext.formats.tflite.writer import Array, Stored, Writer

HEADROOM = 1.25
"""Least ratio of the range of 16 bits to that on the calibration images; bits are plentiful."""

WIDENING = 128
"""Levels of 16 bits for one of 8: 255 levels from the zero point, the most, still fit."""

MOVES = ("Reshape", "Transpose")
"""Operators whose output has the scale of their input."""

IMAGE, MATRIX = (0, 2, 3, 1), (0, 1)
"""Orders of axes: N×H×W×C from N×C×H×W, and rows of features, unchanged."""

Params = tuple[float, int]
"""A scale and a zero point."""


class Tensors:
    """The activations of a file that is being written, by the graph's values."""

    def __init__(self, ranges: Ranges) -> None:
        self.file = Writer()
        self._ranges = ranges
        self._stored: dict[ir.Value, Stored] = {}
        self._changed: dict[tuple[Any, ...], Stored] = {}

    def __getitem__(self, value: ir.Value | None) -> Stored:
        if value is None or value not in self._stored:
            name = value.name if value else "an operand"
            raise ArtifactError(f"{name} is read before it is computed")
        return self._stored[value]

    def __setitem__(self, value: ir.Value, stored: Stored) -> None:
        self._stored[value] = stored

    def range(self, value: ir.Value) -> tuple[float, float]:
        """The range of a tensor on the calibration images."""
        return self._ranges[str(value.name)]

    def set_range(self, value: ir.Value, low: float, high: float) -> None:
        """Replace the range of a tensor."""
        self._ranges[str(value.name)] = low, high

    def wide_params(self, value: ir.Value) -> Params:
        """A scale of 16 bits: a power of two, so that noise in the last bits does not change it."""
        reach = max(*map(abs, self.range(value)), 1e-12)
        return 2.0 ** (math.ceil(math.log2(HEADROOM * reach)) - 15), 0

    def byte_params(self, value: ir.Value) -> Params:
        """A scale and zero point of 8 bits over the full range of a tensor.

        Outputs of the graph have headroom, because the largest logit decides.
        """
        factor = HEADROOM if value.is_graph_output() else 1.0
        low, high = (factor * end for end in self.range(value))
        low, high = min(low, 0.0), max(high, 0.0)
        mantissa, exponent = math.frexp(max((high - low) / 255, 1e-12))
        scale = math.ldexp(math.ceil(mantissa * 1024), exponent - 10)  # coarse, like all scales
        return scale, int(np.clip(round(-128 - low / scale), -128, 127))

    def add(
        self, value: ir.Value, shape: Sequence[int], order: Sequence[int], params: Params | None
    ) -> Stored:
        """The tensor in which an operator stores a value: in 8 bits with `params`, else in 16."""
        dtype = np.int16 if params is None else np.int8
        scale, zero = self.wide_params(value) if params is None else params
        tensor = self.file.activation(str(value.name), shape, dtype, scale, zero, order)
        self._stored[value] = tensor
        return tensor

    def like(self, source: Stored, name: str, shape: Sequence[int], order: Sequence[int]) -> Stored:
        """A tensor of another shape with the same levels."""
        kind = source.dtype.type
        return self.file.activation(name, shape, kind, source.scale, source.zero, order)

    def wide(self, value: ir.Value | None) -> Stored:
        """A tensor in 16 bits, widened without an error if it is in 8."""
        return self.widened(self[value])

    def widened(self, source: Stored) -> Stored:
        """A tensor of the file in 16 bits, as in `wide`."""
        if source.wide:
            return source
        return self._requantized(source, np.int16, (source.scale / WIDENING, 0))

    def bytes(self, value: ir.Value | None) -> Stored:
        """A tensor in 8 bits, over its full range if it is in 16."""
        source = self[value]
        if not source.wide or value is None:
            return source
        return self._requantized(source, np.int8, self.byte_params(value))

    def requantized(self, source: Stored, params: Params, wide: bool = False) -> Stored:
        """The same numbers with another scale."""
        if (source.wide, source.scale, source.zero) == (wide, *params):
            return source
        return self._requantized(source, np.int16 if wide else np.int8, params)

    def _requantized(self, source: Stored, dtype: type[np.integer], params: Params) -> Stored:
        key = source.index, np.dtype(dtype).name, *params
        if key not in self._changed:
            name = f"requantized_{len(self._changed)}"
            result = self.file.activation(name, source.shape, dtype, *params, source.order)
            self.file.operator("QUANTIZE", [source.index], [result])
            self._changed[key] = result
        return replace(self._changed[key], order=source.order)

    def arranged(self, source: Stored, order: Sequence[int] | None = None) -> Stored:
        """The same tensor with its axes in another order, by default that of the graph."""
        order = tuple(range(len(source.shape)) if order is None else order)
        if source.order == order:
            return source
        permutation = [source.order.index(axis) for axis in order]
        shape, moves = merge_axes(source.shape, permutation)
        merged = self.reshaped(source, shape)
        if moves != sorted(moves):
            merged = self._transposed(merged, moves)
        return self.reshaped(merged, [source.shape[i] for i in permutation], order)

    def _transposed(self, source: Stored, moves: Sequence[int]) -> Stored:
        key = source.index, "turned", *moves
        if key not in self._changed:
            shape = [source.shape[i] for i in moves]
            result = self.like(source, f"turned_{len(self._changed)}", shape, moves)
            self.file.operator("TRANSPOSE", [source.index, self.file.integers(*moves)], [result])
            self._changed[key] = result
        return self._changed[key]

    def reshaped(
        self, source: Stored, shape: Sequence[int], order: Sequence[int] | None = None
    ) -> Stored:
        """The same levels in another shape, by default with the axes in the graph's order."""
        order, shape = tuple(range(len(shape)) if order is None else order), tuple(shape)
        if shape == source.shape:
            return replace(source, order=order)
        key = source.index, "shaped", *shape
        if key not in self._changed:
            result = self.like(source, f"shaped_{len(self._changed)}", shape, order)
            inputs = [source.index, self.file.integers(*shape)]
            self.file.operator("RESHAPE", inputs, [result], newShape=list(shape))
            self._changed[key] = result
        return replace(self._changed[key], order=order)


def merge_axes(shape: Sequence[int], permutation: Sequence[int]) -> tuple[list[int], list[int]]:
    """A shape and a permutation with the fewest axes that move the same data.

    Args:
        shape: of the tensor that is permuted.
        permutation: the axis that becomes the first, the second …

    Returns:
        The shape, with one leading axis of size 1, and its permutation.
    """
    runs: list[list[int]] = []
    for axis in (a for a in permutation if shape[a] > 1):
        between = range(runs[-1][-1] + 1, axis) if runs and runs[-1][-1] < axis else None
        if between is not None and all(shape[a] == 1 for a in between):
            runs[-1].append(axis)
        else:
            runs.append([axis])
    ranked = sorted(range(len(runs)), key=lambda i: runs[i][0])
    sizes = [math.prod(shape[a] for a in runs[i]) for i in ranked]
    return [1, *sizes], [0, *(1 + ranked.index(i) for i in range(len(runs)))]


def readers_params(value: ir.Value) -> Params | None:
    """The scale and zero point of 8 bits with which all readers quantize a tensor, if equal."""
    params: set[Params | None] = set()
    for reader, _ in value.uses():
        if reader.op_type in MOVES:
            params.add(readers_params(reader.outputs[0]))
        else:
            params.add(byte_params_of(reader) if reader.op_type == "QuantizeLinear" else None)
    return next(iter(params)) if len(params) == 1 else None


def byte_params_of(node: ir.Node) -> Params:
    """Scale and zero point of a QuantizeLinear or DequantizeLinear of 8 bits.

    Raises:
        ArtifactError: another type than int8 or uint8.
    """
    zero = constant_of(node.inputs[2])
    if zero.dtype not in (np.int8, np.uint8):
        raise ArtifactError(
            f"{node.name} quantizes to {zero.dtype}; only int8 and uint8 are supported",
            "Use a recipe with int8 activations, or --format onnx",
        )
    return float(constant_of(node.inputs[1])), int(zero)


def stored_constant(value: ir.Value | None) -> ir.Node | None:
    """The DequantizeLinear of a tensor that is a constant in integers; None for others."""
    node = value.producer() if value is not None else None
    if node is None or node.op_type != "DequantizeLinear":
        return None
    source = node.inputs[0]
    return node if source is not None and source.const_value is not None else None


def numbers(value: ir.Value | None) -> Array:
    """The real numbers of a constant, stored in float or in integers.

    Raises:
        ArtifactError: the tensor is computed.
    """
    node = stored_constant(value)
    if node is None:
        return constant_of(value)
    levels, scale, zero = (constant_of(v) for v in node.inputs)
    array: Array = (levels.astype(np.float64) - zero) * scale
    return array
