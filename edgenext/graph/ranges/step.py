"""One node of the graph while its outputs are bounded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto

from edgenext.graph.ranges.bounds import UNIT, Array, Axes, Bounds, rounded, shared, unknown


@dataclass(frozen=True)
class Item:
    """Something that a runtime holds in a type with a limit.

    `kind` is `value` for a tensor, `accumulator` for the sums inside an operator. `name` is the
    tensor, or the operator's output. `bound` is the largest absolute value, infinite if there is no
    bound. A complete sum is (|output| · factor)^power; `factor` has a value for each channel of the
    output, along `axis`, or one; it is None if the sum does not follow from the output.
    """

    name: str
    node: str
    operator: str
    kind: Literal["value", "accumulator"]
    dtype: int
    bound: float
    factor: Array | None = None
    power: int = 1
    axis: int = 1

    def measured(self, output: NDArray[Any]) -> float | None:
        """The largest value that an output shows: NaN or infinite if it overflowed."""
        if self.factor is None:
            return None
        factor = self.factor
        if factor.size > 1:
            place = [1] * output.ndim
            place[self.axis] = -1
            factor = factor.reshape(place)
        return float((np.abs(output.astype(np.float64)) * factor).max(initial=0.0) ** self.power)


@dataclass(frozen=True)
class Output:
    """Name, type and shape of a node's output; the shape is None if it is not known."""

    name: str
    dtype: int
    shape: tuple[int, ...] | None


@dataclass
class Step:
    """A node, the bounds of its inputs, and what is noted about it."""

    node: onnx.NodeProto
    inputs: list[Bounds | None]
    outputs: list[Output]
    attributes: dict[str, Any]
    items: list[Item] = field(default_factory=list)

    @property
    def x(self) -> Bounds:
        """The first input."""
        return self.need(0)

    def need(self, i: int) -> Bounds:
        """An input that must be there."""
        value = self.get(i)
        assert value is not None  # noqa: S101 - the checker refuses such a graph
        return value

    def get(self, i: int) -> Bounds | None:
        """An input, None if it is left out."""
        return self.inputs[i] if i < len(self.inputs) else None

    def axis(self, default: int = -1) -> int:
        """The attribute `axis`, not negative."""
        return int(self.attributes.get("axis", default)) % max(len(self.x.shape), 1)

    def axes(self) -> Axes:
        """The axes of a reduction: an attribute or, in newer opsets, the second input."""
        axes = self.attributes.get("axes")
        second = self.get(1)
        if axes is None and second is not None and second.value is not None:
            axes = second.value.reshape(-1).tolist()
        rank = len(self.x.shape)
        return tuple(sorted(int(a) % rank for a in axes)) if axes else tuple(range(rank))

    def out(self, low: Array, high: Array, i: int = 0, **facts: Any) -> Bounds:
        """An output with these exact bounds."""
        output = self.outputs[i]
        shape = output.shape
        if shape is None:
            shape = np.broadcast_shapes(*(b.shape for b in self.inputs if b), low.shape)
        low, high = (np.asarray(v, np.float64) for v in (low, high))
        if low.ndim < len(shape):
            filled = (1,) * (len(shape) - low.ndim)
            low, high = low.reshape(filled + low.shape), high.reshape(filled + high.shape)
        low, high = np.broadcast_arrays(low, high)
        bad = np.isnan(low) | np.isnan(high)
        low, high = np.where(bad, -np.inf, low), np.where(bad, np.inf, high)
        return Bounds(output.name, shape, output.dtype, *shared(low, high), **facts)

    def computed(
        self,
        low: Array,
        high: Array,
        magnitude: Array | float | None = None,
        terms: int = 1,
        **facts: Any,
    ) -> list[Bounds]:
        """The only output, with the rounding of its computation."""
        return [rounded(self.out(low, high, **facts), magnitude, terms)]

    def same(self, **facts: Any) -> list[Bounds]:
        """The only output has the first input's values."""
        return [self.out(self.x.low, self.x.high, **facts)]

    def nothing(self) -> list[Bounds]:
        """Outputs of which nothing is known."""
        shape = self.x.shape if self.get(0) else ()
        return [
            unknown(o.name, shape if o.shape is None else o.shape, o.dtype) for o in self.outputs
        ]

    def accumulates(
        self, bound: float, terms: int, dtype: int | None = None, **relation: Any
    ) -> None:
        """Note a sum inside the operator, in the type of its first input unless given.

        Args:
            bound: the largest absolute value of any part of the sum, in exact arithmetic.
            terms: how many values are added: each addition rounds.
            dtype: of the sum.
            relation: how the sum follows from the output: `factor`, `power` of `Item`.
        """
        dtype = self.x.dtype if dtype is None else dtype
        if dtype in UNIT:
            bound *= float(np.exp(terms * UNIT[dtype]))
        self._note(dtype, bound, **relation)

    def accumulates_levels(self, levels: Array, unit: Array | None, axis: int) -> None:
        """Note an int32 sum of products of levels.

        Args:
            levels: the largest absolute value of each output channel.
            unit: the value of one level of the sum, of each channel; None if it is not known.
            axis: of the output's channels.
        """
        factor = None if unit is None else 1 / unit
        self._note(TensorProto.INT32, float(levels.max(initial=0.0)), factor=factor, axis=axis)

    def _note(self, dtype: int, bound: float, **relation: Any) -> None:
        node = self.node
        item = Item(
            node.output[0], node.name, node.op_type, "accumulator", dtype, bound, **relation
        )
        self.items.append(item)


Transfer = Callable[[Step], list[Bounds]]
"""From a node's inputs to the bounds of its outputs."""
