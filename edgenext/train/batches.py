"""From decoded images to the tensors that a network trains on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from edgenext.data import ImageSet
from edgenext.schema import EvalTransform
from edgenext.train.recipe import TrainRecipe


def training_batches(images: ImageSet, recipe: TrainRecipe) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch in a new random order, augmented: N×3×H×W float32 and N labels.

    Every image is in one batch, and batches differ in size by one image at most. Draws from
    torch's generator.
    """
    order = torch.randperm(len(images)).numpy()
    for index in np.array_split(order, steps_per_epoch(images, recipe)):
        x = augment(to_tensor(images.images[index]), recipe)
        yield normalise_tensor(x, images.transform), torch.from_numpy(images.labels[index])


def steps_per_epoch(images: ImageSet, recipe: TrainRecipe) -> int:
    """Batches in an epoch: as many as images need of at most the recipe's size.

    No batch has one image alone, unless that is the recipe's size: batch norms cannot train on it.
    """
    steps = -(-len(images) // recipe.batch_size)
    return steps if recipe.batch_size == 1 else max(1, min(steps, len(images) // 2))


def to_tensor(images: NDArray[np.uint8]) -> Tensor:
    """N×H×W×3 uint8 to N×3×H×W float32 in 0…1, channels last in memory."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float().div_(255)


def normalise_tensor(x: Tensor, transform: EvalTransform) -> Tensor:
    """N×3×H×W in 0…1 to the network's input, with the transform's mean and deviation."""
    mean = torch.tensor(transform.mean)[:, None, None]
    std = torch.tensor(transform.std)[:, None, None]
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


def augment(x: Tensor, recipe: TrainRecipe) -> Tensor:
    """Shift, scale and mirror every image at random; areas from outside the image are black."""
    if not (recipe.shift or recipe.scale or recipe.flip):
        return x
    n = len(x)
    zoom = 1 + recipe.scale * (2 * torch.rand(n, 2) - 1)
    # In affine_grid's units an image is 2 wide.
    move = 2 * recipe.shift * (2 * torch.rand(n, 2) - 1)
    if recipe.flip:
        zoom[:, 0] *= 1 - 2.0 * torch.randint(0, 2, (n,))
    theta = torch.cat((torch.diag_embed(zoom), move[:, :, None]), 2)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


@torch.no_grad()
def top1(network: torch.nn.Module, images: ImageSet, batch: int = 256) -> float:
    """Top-1 accuracy in percent of a network in evaluation mode."""
    correct = 0
    for start in range(0, len(images), batch):
        x = normalise_tensor(to_tensor(images.images[start : start + batch]), images.transform)
        predictions = network(x).argmax(1).numpy()
        correct += int((predictions == images.labels[start : start + batch]).sum())
    return 100 * correct / len(images)
