"""Photographs, decoded and augmented on the fly in worker processes."""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from edgenext.data import PhotoSet
from edgenext.data.decode import decode_whole
from edgenext.data.files import UnreadableError
from edgenext.data.pool import default_workers
from edgenext.data.sources import Source, open_source
from edgenext.errors import DataError, UsageError
from edgenext.train.batches import seed_of
from edgenext.train.recipe import TrainRecipe
from edgenext.train.sampler import Batch
from edgenext.train.timm_parts import timm_module

MOST_WORKERS = 8
Key = tuple[int, int, int]
"""Epoch, position in the set, side in pixels."""
Sample = tuple[Tensor, int]
"""3×S×S float32 and its label."""


class PhotoBatches:
    """Batches of photographs from worker processes.

    Args:
        photos: what is trained on.
        recipe: how images are cropped and augmented.
        workers: processes that decode; 0: this one.

    Raises:
        UsageError: timm does not understand the RandAugment.
        MissingDependencyError: timm is not installed.
    """

    def __init__(self, photos: PhotoSet, recipe: TrainRecipe, workers: int) -> None:
        training_transform(photos, recipe, photos.transform.size)  # refused here, if at all
        self._dataset = _Photos(photos, recipe)
        self._batches = _Keys()
        with _any_number_of_workers():
            self._loader = DataLoader(
                self._dataset,
                batch_sampler=self._batches,
                num_workers=workers,
                persistent_workers=workers > 0,
                collate_fn=_collate,
                pin_memory=torch.cuda.is_available(),
                generator=torch.Generator(),  # not to draw from the training's
            )

    def load(self, batches: Sequence[Batch], epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """As `TrainingBatches.load`: each image is a function of seed, epoch and position.

        Raises:
            DataError: an image cannot be decoded; it could when it was listed.
        """
        self._batches.keys = [
            [(epoch, int(i), batch.side) for i in batch.indices] for batch in batches
        ]
        with _any_number_of_workers():
            loaded = iter(self._loader)
        for batch in loaded:
            if isinstance(batch, DataError):
                raise batch
            yield batch


@contextlib.contextmanager
def _any_number_of_workers() -> Iterator[None]:
    """Without torch's warning of more workers than processors: they give the same images."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        yield


class _Keys:
    """The batches of an epoch, as torch's loader takes them."""

    def __init__(self) -> None:
        self.keys: list[list[Key]] = []

    def __iter__(self) -> Iterator[list[Key]]:
        return iter(self.keys)

    def __len__(self) -> int:
        return len(self.keys)


class _Photos(Dataset["Sample | DataError"]):
    def __init__(self, photos: PhotoSet, recipe: TrainRecipe) -> None:
        self._photos, self._recipe = photos, recipe
        self._source: Source | None = None
        self._transforms: dict[int, Callable[[Image.Image], Tensor]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_source": None}

    def __getitem__(self, key: Key) -> Sample | DataError:
        epoch, position, side = key
        photos = self._photos
        if self._source is None:
            self._source = open_source(photos.data)
        if side not in self._transforms:
            self._transforms[side] = training_transform(photos, self._recipe, side)
        path = photos.paths[position]
        try:
            image = decode_whole(self._source.read(path), photos.transform.exif)
        except UnreadableError as e:
            return DataError(  # raised in a worker, it would lose its message
                f"cannot train on {path} in {photos.data}: {e}", "Remove the file and train again"
            )
        with seeded(seed_of(self._recipe.seed, epoch, position)):
            return self._transforms[side](image), int(photos.labels[position])


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """A block in which the generators of Python, numpy and torch are seeded; then as before."""
    python, array, tensor = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(array)
        torch.set_rng_state(tensor)


def training_transform(
    photos: PhotoSet, recipe: TrainRecipe, side: int
) -> Callable[[Image.Image], Tensor]:
    """Random crop, mirror and augmentation: an RGB image to 3×side×side float32, normalised.

    Raises:
        UsageError: timm does not understand the RandAugment.
        MissingDependencyError: timm is not installed.
    """
    jitter = 0.0 if recipe.randaugment else recipe.color_jitter
    three = recipe.three_augment and not recipe.multi_scale
    policy = recipe.randaugment or ("3a" if three else None)
    create = timm_module("timm.data").create_transform
    try:
        transform: Callable[[Image.Image], Tensor] = create(
            side,
            is_training=True,
            scale=(recipe.crop_least, 1.0),
            hflip=recipe.flip,
            color_jitter=jitter or None,
            auto_augment=policy,
            interpolation=photos.transform.interpolation,
            mean=photos.transform.mean,
            std=photos.transform.std,
            re_prob=recipe.erasing,
            re_mode="pixel",
        )
    except (AssertionError, ValueError, KeyError, TypeError) as e:  # timm's, of a policy
        raise UsageError(
            f"timm does not understand the RandAugment {recipe.randaugment!r}: {e}",
            "Such as rand-m9-mstd0.5-inc1",
        ) from e
    return transform


def _collate(samples: Sequence[Sample | DataError]) -> tuple[Tensor, Tensor] | DataError:
    for sample in samples:
        if isinstance(sample, DataError):
            return sample
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of a storage that a worker resizes
        x = torch.stack([x for x, _ in samples])  # type: ignore[misc]
    return x, torch.tensor([y for _, y in samples])  # type: ignore[misc]


def decoding_processes(workers: int | None) -> int:
    """Processes that decode: as many as given, else one a processor, at most `MOST_WORKERS`.

    Raises:
        UsageError: a negative number.
    """
    if workers is None:
        return default_workers(MOST_WORKERS)
    if workers < 0:
        raise UsageError(f"the number of workers must be at least 0, not {workers}")
    return workers
