"""Batches of images that were decoded beforehand, as tensors to train on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from edgenext.data import ImageSet
from edgenext.schema import EvalTransform
from edgenext.train.recipe import TrainRecipe
from edgenext.train.sampler import Batch


class TrainingBatches(Protocol):
    """Turns batches of positions into tensors."""

    def load(self, batches: Sequence[Batch], epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """N×3×S×S float32 in the network's range and N labels, for each batch of an epoch."""
        ...


class DecodedBatches:
    """Shifts, scales and mirrors decoded images, a batch at a time."""

    def __init__(self, images: ImageSet, recipe: TrainRecipe) -> None:
        self._images, self._recipe = images, recipe

    def load(self, batches: Sequence[Batch], epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        """As `TrainingBatches.load`; the same for the same images, seed and epoch."""
        images, recipe = self._images, self._recipe
        for batch in batches:
            generator = torch.Generator().manual_seed(
                seed_of(recipe.seed, epoch, int(batch.indices[0]))
            )
            x = augment(to_tensor(images.images[batch.indices]), recipe, generator)
            labels = torch.from_numpy(images.labels[batch.indices])
            yield normalise_tensor(x, images.transform), labels


def seed_of(*numbers: int) -> int:
    """A seed that another number anywhere changes."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])


def to_tensor(images: NDArray[np.uint8]) -> Tensor:
    """N×H×W×3 uint8 to N×3×H×W float32 in 0…1, channels last in memory."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float().div_(255)


def normalise_tensor(x: Tensor, transform: EvalTransform) -> Tensor:
    """N×3×H×W in 0…1 to the network's input, with the transform's mean and deviation."""
    mean = torch.tensor(transform.mean)[:, None, None]
    std = torch.tensor(transform.std)[:, None, None]
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


def augment(x: Tensor, recipe: TrainRecipe, generator: torch.Generator) -> Tensor:
    """Shift, scale and mirror every image at random; areas from outside the image are black."""
    if not (recipe.shift or recipe.scale or recipe.flip):
        return x
    n = len(x)
    zoom = 1 + recipe.scale * (2 * torch.rand(n, 2, generator=generator) - 1)
    # In affine_grid's units an image is 2 wide.
    move = 2 * recipe.shift * (2 * torch.rand(n, 2, generator=generator) - 1)
    if recipe.flip:
        mirrored = torch.rand(n, generator=generator) < recipe.flip
        zoom[:, 0] *= 1 - 2.0 * mirrored
    theta = torch.cat((torch.diag_embed(zoom), move[:, :, None]), 2)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)
