"""Operators that only move values."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from edgenext.graph.ranges.bounds import Array, Ball, Bounds
from edgenext.graph.ranges.step import Step, Transfer

MOST_EXPANDED = 1 << 23
"""Values of a tensor whose bounds are written out to be reshaped."""


def transpose(step: Step) -> list[Bounds]:
    """Axes in another order."""
    x = step.x
    rank = len(x.shape)
    order = [int(a) for a in step.attributes.get("perm", range(rank)[::-1])]
    last_two = order == [*range(rank - 2), rank - 1, rank - 2]
    facts: dict[str, Any] = {}
    if x.ball:
        facts["ball"] = x.ball.moved(order.index(x.ball.axis))
    if x.simplex is not None:
        facts["simplex"] = order.index(x.simplex)
    if last_two:
        facts["transposed"] = x.root
        if x.norm:
            facts["norm"] = replace(x.norm, swapped=not x.norm.swapped)
    low, high = x.low.transpose(order), x.high.transpose(order)
    return [step.out(low, high, levels=_uniform(x), **facts)]


def _uniform(x: Bounds) -> Any:
    """Levels that hold for the whole tensor."""
    if x.levels is None or x.levels.scale.size != 1:
        return None
    return replace(x.levels, size=np.asarray(x.levels.size.max()))


def reshape(step: Step) -> list[Bounds]:
    """The same values in another shape."""
    x, shape = step.x, step.outputs[0].shape
    if shape is None:
        return step.nothing()
    low, high = (_reshaped(v, x.shape, shape) for v in (x.low, x.high))
    return [step.out(low, high, ball=_same_ball(x.ball, x.shape, shape), levels=_uniform(x))]


def _reshaped(v: Array, shape: tuple[int, ...], new: tuple[int, ...]) -> Array:
    if v.size == 1:
        return v.reshape((1,) * len(new))
    if math.prod(shape) > MOST_EXPANDED:
        raise MemoryError  # the caller knows nothing then
    return np.broadcast_to(v, shape).reshape(new)


def _same_ball(ball: Ball | None, shape: tuple[int, ...], new: tuple[int, ...]) -> Ball | None:
    """A ball, if its axis is still one axis."""
    if ball is None:
        return None
    if shape[: ball.axis + 1] == new[: ball.axis + 1]:
        return ball
    behind = len(shape) - ball.axis
    if behind <= len(new) and shape[-behind:] == new[-behind:]:
        return ball.moved(len(new) - behind)
    return None


def split(step: Step) -> list[Bounds]:
    """Parts along an axis."""
    x, axis = step.x, step.axis(0)
    sizes = [o.shape[axis] if o.shape else 0 for o in step.outputs]
    if not all(sizes):
        return step.nothing()
    ends = np.cumsum(sizes)
    parts = []
    for i, (end, size) in enumerate(zip(ends, sizes, strict=True)):
        low, high = (_part(v, axis, slice(end - size, end)) for v in (x.low, x.high))
        ball = x.ball if x.ball and x.ball.axis != axis else None
        parts.append(step.out(low, high, i, ball=ball, levels=_uniform(x)))
    return parts


def _part(v: Array, axis: int, part: slice) -> Array:
    if v.shape[axis] == 1:
        return v
    return v[(slice(None),) * axis + (part,)]


def whole_range(step: Step) -> list[Bounds]:
    """Some of the values: bounds of all of them hold."""
    x = step.x
    rank = len(step.outputs[0].shape or x.shape)
    low, high = (np.full((1,) * rank, e) for e in (x.low.min(), x.high.max()))
    return [step.out(low, high, levels=_uniform(x))]


def sliced(step: Step) -> list[Bounds]:
    """A part along some axes, in steps of one."""
    x = step.x
    values = [b.value if b is not None else None for b in step.inputs[1:]]
    if any(v is None for v in values) or len(values) < 2:
        return whole_range(step)
    starts, ends = (np.asarray(v).reshape(-1).tolist() for v in values[:2])
    axes = np.asarray(values[2]).reshape(-1).tolist() if len(values) > 2 else range(len(starts))
    if len(values) > 3 and any(s != 1 for s in np.asarray(values[3]).reshape(-1)):
        return whole_range(step)
    low, high, ball = x.low, x.high, x.ball
    for start, end, axis in zip(starts, ends, axes, strict=True):
        place = int(axis) % len(x.shape)
        part = slice(*slice(int(start), int(end)).indices(x.shape[place]))
        low, high = _part(low, place, part), _part(high, place, part)
        ball = None if ball and ball.axis == place else ball
    return [step.out(low, high, ball=ball, levels=_uniform(x))]


def concat(step: Step) -> list[Bounds]:
    """Tensors one behind the other."""
    parts = [b for b in step.inputs if b is not None]
    axis = step.axis(0)
    sizes: list[list[Array]] = [[], []]
    for i in range(2):
        ends = [(b.low, b.high)[i] for b in parts]
        others = np.broadcast_shapes(*(_without(e.shape, axis) for e in ends))
        for b, e in zip(parts, ends, strict=True):
            full = (*others[:axis], b.shape[axis], *others[axis + 1 :])
            sizes[i].append(np.broadcast_to(e, full))
    low, high = (np.concatenate(v, axis) for v in sizes)
    return [step.out(low, high)]


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return (*shape[:axis], 1, *shape[axis + 1 :])


def expand(step: Step) -> list[Bounds]:
    """Values repeated along axes of length 1."""
    return step.same(norm=step.x.norm, over=step.x.over)


def identity(step: Step) -> list[Bounds]:
    """The same tensor under another name."""
    return [replace(step.x, name=step.outputs[0].name, origin=step.x.root)]


def squeeze(step: Step) -> list[Bounds]:
    """Axes of length 1 left out or put in."""
    return reshape(step)


TRANSFERS: dict[str, Transfer] = {
    "Transpose": transpose,
    "Reshape": reshape,
    "Flatten": reshape,
    "Squeeze": squeeze,
    "Unsqueeze": squeeze,
    "Split": split,
    "Slice": sliced,
    "Gather": whole_range,
    "Concat": concat,
    "Expand": expand,
    "Identity": identity,
    "Dropout": identity,
}
