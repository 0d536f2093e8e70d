"""Photographs on the fly: each image is a function of seed, epoch and position."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from photo_sets import CLASSES, photo_folder, photo_set, photo_shards

from edgenext.data import PhotoSet, load_photos
from edgenext.errors import DataError, UsageError
from edgenext.schema import EvalTransform
from edgenext.train import TrainRecipe
from edgenext.train.batches import seed_of
from edgenext.train.photos import PhotoBatches, decoding_processes, seeded, training_transform
from edgenext.train.sampler import epoch_batches

PHOTOS = TrainRecipe(batch_size=8, loader="photos", flip=0.5, color_jitter=0.4)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> PhotoSet:
    return photo_set(photo_folder(tmp_path_factory.mktemp("photos")))


def epoch_of(
    photos: PhotoSet, epoch: int = 0, workers: int = 0, recipe: TrainRecipe = PHOTOS, skip: int = 0
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    size = photos.transform.size
    batches = epoch_batches(len(photos), size, recipe, epoch)[skip:]
    return list(PhotoBatches(photos, recipe, workers).load(batches, epoch))


def same(a: list[tuple[torch.Tensor, ...]], b: list[tuple[torch.Tensor, ...]]) -> bool:
    return len(a) == len(b) and all(
        torch.equal(x, y) for pairs in zip(a, b, strict=True) for x, y in zip(*pairs, strict=True)
    )


def test_workers_and_resuming_change_nothing(photos: PhotoSet) -> None:
    alone = epoch_of(photos)
    assert same(alone, epoch_of(photos, workers=2))
    assert same(alone[1:], epoch_of(photos, skip=1))
    assert not same(alone, epoch_of(photos, epoch=1))
    other = PHOTOS.model_copy(update={"seed": 1})
    assert not same(alone, epoch_of(photos, recipe=other))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_more_workers_than_processors_are_taken_without_a_warning(photos: PhotoSet) -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        batches = epoch_of(photos, workers=2)
    finally:
        os.sched_setaffinity(0, allowed)
    assert same(batches, epoch_of(photos))


def test_the_callers_generators_stay_as_they_are(photos: PhotoSet) -> None:
    def draws() -> tuple[float, float, float]:
        return random.gauss(), float(np.random.rand()), float(torch.rand(()))

    with seeded(5):
        expected = draws()
    with seeded(5):
        epoch_of(photos)
        assert draws() == expected


def test_labels_are_those_of_the_images(photos: PhotoSet) -> None:
    for x, y in epoch_of(photos, recipe=TrainRecipe(batch_size=8, loader="photos")):
        assert x.shape[1:] == (3, 32, 32) and x.dtype == torch.float32
        assert torch.equal(2 - x.mean((2, 3)).argmax(1), y)  # the colour of the class


def test_a_folder_and_its_shards_are_the_same_images(photos: PhotoSet, tmp_path: Path) -> None:
    shards = photo_set(photo_shards(tmp_path / "shards"))
    assert shards.classes == ("0", "1", "2") and photos.classes == CLASSES
    assert sorted(shards.hashes) == sorted(photos.hashes)
    (x, y), *_ = epoch_of(shards, workers=1)
    assert torch.equal(2 - x.mean((2, 3)).argmax(1), y)


def test_batches_of_several_sides(photos: PhotoSet) -> None:
    recipe = PHOTOS.model_copy(update={"multi_scale": True, "batch_size": 2})
    large = photo_set(photos.data, 64)
    sides = {x.shape[-1] for epoch in range(3) for x, _ in epoch_of(large, epoch, recipe=recipe)}
    assert sides == {64, 96}


@pytest.mark.parametrize(
    "values",
    [
        {"randaugment": "rand-m9-mstd0.5-inc1"},
        {"three_augment": True},
        {"erasing": 1.0},
    ],
)
def test_each_augmentation_changes_the_image(photos: PhotoSet, values: dict[str, object]) -> None:
    from edgenext.data.decode import decode_whole

    image = decode_whole((photos.data / photos.paths[0]).read_bytes(), "ignore")
    plain, changed = (
        training_transform(photos, TrainRecipe(loader="photos", crop_least=1.0, **v), 32)
        for v in ({}, values)
    )
    outputs = []
    for transform in (plain, changed):
        with seeded(seed_of(1)):
            outputs.append(transform(image))
    assert not torch.equal(*outputs)


def test_an_image_that_was_damaged_since(tmp_path: Path) -> None:
    photos = photo_set(photo_folder(tmp_path))
    (tmp_path / "red" / "003.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"cannot train on red/003\.jpg in .*: not an image"):
        epoch_of(photos)
    with pytest.raises(DataError, match=r"red/003\.jpg"):
        epoch_of(photos, workers=1)


def test_what_is_no_set_of_photographs() -> None:
    with pytest.raises(UsageError, match="the embedded digits are no photographs"):
        load_photos("digits", EvalTransform(size=32), num_classes=10)
    with pytest.raises(UsageError, match="workers must be at least 0"):
        decoding_processes(-1)
