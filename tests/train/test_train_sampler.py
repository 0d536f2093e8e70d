"""Which images a batch has: the published sampler's arithmetic, and nothing seen twice."""

from __future__ import annotations

import numpy as np
import pytest

from edgenext.train import TrainRecipe
from edgenext.train.sampler import batch_sides, epoch_batches, steps_per_epoch

MULTI = TrainRecipe(batch_size=16, loader="photos", multi_scale=True)


def test_sides_and_batches_are_the_published_ones() -> None:
    published = [(160, 656), (192, 456), (256, 256), (288, 256), (320, 256)]
    assert batch_sides(256, 256, 8) == published  # 256 images in each of 8 processes
    assert batch_sides(256, 256, 1) == [(160, 654), (192, 454), *published[2:]]


def test_sides_follow_the_input() -> None:
    assert [side for side, _ in batch_sides(64, 8, 1)] == [64, 96]
    assert [side for side, _ in batch_sides(128, 8, 1)] == [96, 128, 160]
    assert batch_sides(128, 8, 1) == [(96, 14), (128, 8), (160, 8)]


@pytest.mark.parametrize("recipe", [TrainRecipe(batch_size=16), MULTI])
@pytest.mark.parametrize(("n", "world"), [(257, 1), (100, 2), (61, 3)])
def test_processes_share_an_epoch(recipe: TrainRecipe, n: int, world: int) -> None:
    ranks = [epoch_batches(n, 64, recipe, 3, world, rank) for rank in range(world)]
    seen: list[int] = []
    for parts in zip(*ranks, strict=True):  # the batches of a step in all processes
        assert len({(b.side, len(b.indices), b.seen) for b in parts}) == 1
        together = np.stack([b.indices for b in parts], 1).reshape(-1)  # as they were dealt
        assert len(together) - parts[0].seen < world
        assert set(together[parts[0].seen :]) <= set(together[: parts[0].seen])
        seen += together[: parts[0].seen].tolist()
    assert sorted(seen) == list(range(n))


def test_an_epoch_is_a_function_of_seed_and_epoch() -> None:
    def order(epoch: int, seed: int = 0) -> list[int]:
        recipe = TrainRecipe(batch_size=16, seed=seed)
        return [int(i) for b in epoch_batches(50, 32, recipe, epoch) for i in b.indices]

    assert order(0) == order(0)
    assert len({tuple(order(0)), tuple(order(1)), tuple(order(0, seed=1))}) == 3


def test_every_side_is_drawn() -> None:
    recipe = MULTI.model_copy(update={"batch_size": 4})
    sides = {b.side for epoch in range(5) for b in epoch_batches(200, 128, recipe, epoch)}
    assert sides == {96, 128, 160}


@pytest.mark.parametrize(
    ("n", "batch_size", "sizes"),
    [(120, 64, [60, 60]), (64, 64, [64]), (3, 2, [3]), (5, 2, [3, 2]), (3, 1, [1, 1, 1])],
)
def test_no_batch_is_incomplete_or_has_one_image_alone(
    n: int, batch_size: int, sizes: list[int]
) -> None:
    recipe = TrainRecipe(batch_size=batch_size)
    assert [len(b.indices) for b in epoch_batches(n, 32, recipe, 0)] == sizes
    assert steps_per_epoch(n, recipe) == len(sizes)
