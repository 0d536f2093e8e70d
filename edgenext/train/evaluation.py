"""Accuracy while training: every image counted once, by however many processes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from edgenext.data import ImageSet
from edgenext.train.batches import normalise_tensor, to_tensor
from edgenext.train.processes import Processes

BATCH = 256


@dataclass(frozen=True)
class Scores:
    """Top-1 and top-5 accuracy in percent; with fewer than five classes top-5 is 100."""

    top1: float
    top5: float


@torch.no_grad()
def evaluate_network(
    network: nn.Module,
    images: ImageSet,
    device: torch.device | None = None,
    group: Processes | None = None,
) -> Scores:
    """The accuracy of a network in evaluation mode; its mode is as before afterwards.

    Args:
        network: N×3×H×W to N×K logits, on `device`.
        images: all processes have the same.
        device: where it computes.
        group: the processes, each of which evaluates every `world`th image.
    """
    group, device = group or Processes(), device or torch.device("cpu")
    training = network.training
    network.eval()
    own = np.arange(group.rank, len(images), group.world)
    counts = torch.zeros(3, dtype=torch.int64, device=device)
    for start in range(0, len(own), BATCH):
        index = own[start : start + BATCH]
        x = normalise_tensor(to_tensor(images.images[index]), images.transform).to(device)
        labels = torch.from_numpy(images.labels[index]).to(device)
        counts += _correct(network(x), labels)
    network.train(training)
    top1, top5, n = group.total(counts).tolist()
    return Scores(100 * top1 / n, 100 * top5 / n)


def _correct(logits: Tensor, labels: Tensor) -> Tensor:
    """How many labels are the largest logit, are among the five largest, and are there."""
    hits = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
    return torch.stack((hits[:, 0].sum(), hits.sum(), torch.tensor(len(labels)).to(hits.device)))
