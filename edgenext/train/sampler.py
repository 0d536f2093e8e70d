"""Which images each batch of an epoch has, and at which side.

Everything is a function of the recipe's seed, the epoch and the number of processes: a resumed
training draws the same batches, and all processes agree without a message.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgenext.train.recipe import TrainRecipe

SIDES = 5
"""Sides of the multi-scale sampler: evenly spaced, then rounded to `STRIDE`."""
LEAST, MOST = 160 / 256, 320 / 256
"""The least and the greatest of them, relative to the side of the network's input."""
STRIDE = 32
"""The network's, by which sides are divisible."""


@dataclass(frozen=True)
class Batch:
    """Positions of images, and the side in pixels that they get.

    `indices` are those of this process, `seen` counts the images of all processes.
    """

    indices: NDArray[np.int64]
    side: int
    seen: int


def batch_sides(side: int, batch: int, world: int) -> list[tuple[int, int]]:
    """The sides of the multi-scale sampler, each with its batch size in a process.

    Smaller images come in larger batches, with as many pixels as the base batch; larger ones in
    batches of the base size. Batches are even, and divisible by the number of processes. The
    arithmetic is that of the published sampler, with sides relative to the input's.

    Args:
        side: of the network's input, in pixels.
        batch: images of a process at that side.
        world: the number of processes.
    """
    sides = {
        _to_multiple(s, STRIDE)
        for s in (*np.linspace(side * LEAST, side * MOST, SIDES).tolist(), side)
    }
    pairs = []
    for s in sorted(sides):
        n = _to_multiple(max(batch, int(side * side * batch / (s * s))), world)
        pairs.append((s, max(n - n % 2, 1)))
    return pairs


def _to_multiple(value: float, divisor: int) -> int:
    """The nearest multiple, at least one; above it where that would be 10 % too little."""
    nearest = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * value else nearest


def epoch_batches(
    n: int, side: int, recipe: TrainRecipe, epoch: int, world: int = 1, rank: int = 0
) -> list[Batch]:
    """The batches of an epoch for one process: every image once, in a new random order.

    All processes have batches of one size and side at a time. Where a batch cannot be shared
    evenly, its first images are in it twice. Without multi-scale, batches differ in size by one
    image in each process at most; none has one image alone, unless that is the recipe's size: batch
    norms cannot train on it.

    Args:
        n: images.
        side: of the network's input, in pixels.
        recipe: batch size, seed, multi-scale or not.
        epoch: counted from 0.
        world: the number of processes.
        rank: of this process.
    """
    rng = np.random.default_rng((recipe.seed, epoch))
    order = rng.permutation(n)
    if recipe.multi_scale:
        pairs = batch_sides(side, recipe.batch_size, world)
        parts = _multi_scale(order, pairs, world, rng)
    else:
        parts = [(part, side) for part in np.array_split(order, steps_per_epoch(n, recipe, world))]
    return [_share(part, s, world, rank) for part, s in parts]


def _multi_scale(
    order: NDArray[np.int64], pairs: list[tuple[int, int]], world: int, rng: np.random.Generator
) -> list[tuple[NDArray[np.int64], int]]:
    """Batches of randomly drawn sides until every image is in one."""
    parts, start = [], 0
    while start < len(order):
        side, size = pairs[rng.integers(len(pairs))]
        end = start + size * world
        if len(order) - end < 2 * world:  # too few for a batch of their own
            end = len(order)
        parts.append((order[start:end], side))
        start = end
    return parts


def _share(part: NDArray[np.int64], side: int, world: int, rank: int) -> Batch:
    padded = np.resize(part, -(-len(part) // world) * world)
    return Batch(padded[rank::world], side, len(part))


def steps_per_epoch(n: int, recipe: TrainRecipe, world: int = 1) -> int:
    """Batches of an epoch in which all have one side."""
    size = recipe.batch_size * world
    steps = -(-n // size)
    return steps if size == 1 else max(1, min(steps, n // (2 * world)))
