"""Activations of an integer file: their scales, their widths and the order of their axes."""

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
"""How far beyond the calibration images' values 16 bits reach at least; they have bits to spare."""

WIDENING = 128
"""Levels of 16 bits for one of 8: the widest byte, 255 levels from its zero point, still fits."""

MOVES = ("Reshape", "Transpose")
"""Operators whose output has the scale of their input."""

IMAGE, MATRIX = (0, 2, 3, 1), (0, 1)
"""Orders of axes: N×H×W×C of N×C×H×W, and rows of features as they are."""

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
            raise ArtifactError(f"{name} is read before it is made")
        return self._stored[value]

    def __setitem__(self, value: ir.Value, stored: Stored) -> None:
        self._stored[value] = stored

    def range(self, value: ir.Value) -> tuple[float, float]:
        """What calibration saw of a tensor."""
        return self._ranges[str(value.name)]

    def limit(self, value: ir.Value, low: float, high: float) -> None:
        """Say of a tensor what calibration could not see."""
        self._ranges[str(value.name)] = low, high

    def wide_params(self, value: ir.Value) -> Params:
        """A scale of 16 bits: a power of two, so that noise in the last bits changes none."""
        reach = max(*map(abs, self.range(value)), 1e-12)
        return 2.0 ** (math.ceil(math.log2(HEADROOM * reach)) - 15), 0

    def byte_params(self, value: ir.Value) -> Params:
        """A scale and zero point of 8 bits over the whole range of a tensor.

        What the graph gives has head room: the largest logit of all is an answer.
        """
        room = HEADROOM if value.is_graph_output() else 1.0
        low, high = (room * end for end in self.range(value))
        low, high = min(low, 0.0), max(high, 0.0)
        mantissa, exponent = math.frexp(max((high - low) / 255, 1e-12))
        scale = math.ldexp(math.ceil(mantissa * 1024), exponent - 10)  # coarse, like all scales
        return scale, int(np.clip(round(-128 - low / scale), -128, 127))

    def add(
        self, value: ir.Value, shape: Sequence[int], order: Sequence[int], params: Params | None
    ) -> Stored:
        """The tensor in which an operator leaves a value: in bytes like these, or in 16 bits."""
        dtype = np.int16 if params is None else np.int8
        scale, zero = self.wide_params(value) if params is None else params
        made = self.file.activation(str(value.name), shape, dtype, scale, zero, order)
        self._stored[value] = made
        return made

    def like(self, source: Stored, name: str, shape: Sequence[int], order: Sequence[int]) -> Stored:
        """A tensor of another shape that holds the same levels."""
        kind = source.dtype.type
        return self.file.activation(name, shape, kind, source.scale, source.zero, order)

    def wide(self, value: ir.Value | None) -> Stored:
        """A tensor in 16 bits, widened without an error if it is in bytes."""
        return self.widened(self[value])

    def widened(self, found: Stored) -> Stored:
        """A tensor of the file in 16 bits, like `wide`."""
        if found.wide:
            return found
        return self._requantized(found, np.int16, (found.scale / WIDENING, 0))

    def bytes(self, value: ir.Value | None) -> Stored:
        """A tensor in bytes, over its whole range if it is in 16 bits."""
        found = self[value]
        if not found.wide or value is None:
            return found
        return self._requantized(found, np.int8, self.byte_params(value))

    def requantized(self, source: Stored, params: Params, wide: bool = False) -> Stored:
        """The same numbers with another scale."""
        if (source.wide, source.scale, source.zero) == (wide, *params):
            return source
        return self._requantized(source, np.int16 if wide else np.int8, params)

    def _requantized(self, source: Stored, dtype: type[np.integer], params: Params) -> Stored:
        key = source.index, np.dtype(dtype).name, *params
        if key not in self._changed:
            name = f"requantized_{len(self._changed)}"
            made = self.file.activation(name, source.shape, dtype, *params, source.order)
            self.file.operator("QUANTIZE", [source.index], [made])
            self._changed[key] = made
        return replace(self._changed[key], order=source.order)

    def arranged(self, source: Stored, order: Sequence[int] | None = None) -> Stored:
        """The same tensor with its axes in another order; the graph's unless one is given."""
        order = tuple(range(len(source.shape)) if order is None else order)
        if source.order == order:
            return source
        taken = [source.order.index(axis) for axis in order]
        shape, moves = merged(source.shape, taken)
        flat = self.reshaped(source, shape)
        if moves != sorted(moves):
            flat = self._turned(flat, moves)
        return self.reshaped(flat, [source.shape[i] for i in taken], order)

    def _turned(self, source: Stored, moves: Sequence[int]) -> Stored:
        key = source.index, "turned", *moves
        if key not in self._changed:
            shape = [source.shape[i] for i in moves]
            made = self.like(source, f"turned_{len(self._changed)}", shape, moves)
            self.file.operator("TRANSPOSE", [source.index, self.file.integers(*moves)], [made])
            self._changed[key] = made
        return self._changed[key]

    def reshaped(
        self, source: Stored, shape: Sequence[int], order: Sequence[int] | None = None
    ) -> Stored:
        """The same levels in another shape, whose axes are in the graph's order unless given."""
        order, shape = tuple(range(len(shape)) if order is None else order), tuple(shape)
        if shape == source.shape:
            return replace(source, order=order)
        key = source.index, "shaped", *shape
        if key not in self._changed:
            made = self.like(source, f"shaped_{len(self._changed)}", shape, order)
            inputs = [source.index, self.file.integers(*shape)]
            self.file.operator("RESHAPE", inputs, [made], newShape=list(shape))
            self._changed[key] = made
        return replace(self._changed[key], order=order)


def merged(shape: Sequence[int], taken: Sequence[int]) -> tuple[list[int], list[int]]:
    """A shape and a permutation of the fewest axes that move the same numbers.

    Args:
        shape: of what is permuted.
        taken: the axis of it that becomes the first, the second …

    Returns:
        The shape, with one leading axis of size 1, and the permutation of it.
    """
    runs: list[list[int]] = []
    for axis in (a for a in taken if shape[a] > 1):
        between = range(runs[-1][-1] + 1, axis) if runs and runs[-1][-1] < axis else None
        if between is not None and all(shape[a] == 1 for a in between):
            runs[-1].append(axis)
        else:
            runs.append([axis])
    ranked = sorted(range(len(runs)), key=lambda i: runs[i][0])
    sizes = [math.prod(shape[a] for a in runs[i]) for i in ranked]
    return [1, *sizes], [0, *(1 + ranked.index(i) for i in range(len(runs)))]


def wanted(value: ir.Value) -> Params | None:
    """The bytes in which everyone reads a tensor, if they agree."""
    found: set[Params | None] = set()
    for user, _ in value.uses():
        if user.op_type in MOVES:
            found.add(wanted(user.outputs[0]))
        else:
            found.add(byte_params_of(user) if user.op_type == "QuantizeLinear" else None)
    return next(iter(found)) if len(found) == 1 else None


def byte_params_of(node: ir.Node) -> Params:
    """Scale and zero point of a Q or DQ of bytes.

    Raises:
        ArtifactError: another type than int8 or uint8.
    """
    zero = constant_of(node.inputs[2])
    if zero.dtype not in (np.int8, np.uint8):
        raise ArtifactError(
            f"{node.name} has {zero.dtype} where the integer file has bytes",
            "Use a recipe with int8 activations, or --format onnx",
        )
    return float(constant_of(node.inputs[1])), int(zero)


def stored(value: ir.Value | None) -> ir.Node | None:
    """The DequantizeLinear of a constant that is stored in integers, if a tensor is one."""
    node = value.producer() if value is not None else None
    if node is None or node.op_type != "DequantizeLinear":
        return None
    source = node.inputs[0]
    return node if source is not None and source.const_value is not None else None


def numbers(value: ir.Value | None) -> Array:
    """A constant's numbers, stored in float or in integers.

    Raises:
        ArtifactError: it is computed.
    """
    node = stored(value)
    if node is None:
        return constant_of(value)
    levels, scale, zero = (constant_of(v) for v in node.inputs)
    array: Array = (levels.astype(np.float64) - zero) * scale
    return array
