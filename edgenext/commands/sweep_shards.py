"""Evaluation in shards: a record of each shard, which together give exactly the whole."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgenext.formats.session import Logits
from edgenext.metrics.accuracy import Labels, paired_drop, percent, ranks, require_scorable
from edgenext.metrics.fidelity import log_softmax
from edgenext.schema import Drop, ShardScores


def shard_rows(name: str, values: Logits, labels: Labels) -> dict[str, object]:
    """The fields of `ShardScores` that follow from logits, N×K, and N labels.

    Raises:
        DataError: labels outside the K classes.
        RuntimeFailedError: logits that are not finite.
    """
    require_scorable(name, values, labels)
    losses = -log_softmax(values)[np.arange(len(values)), labels]
    return {
        "ranks": ranks(values, labels).tolist(),
        "first": values.argmax(1).tolist(),
        "losses": losses.tolist(),
        "logits_sha256": hashlib.sha256(values.astype("<f4").tobytes()).hexdigest(),
    }


@dataclass(frozen=True)
class MergedScores:
    """The scores of a file on all images, from those of its shards in their order."""

    ranks: tuple[int, ...]
    first: tuple[int, ...]
    losses: tuple[float, ...]
    logits_sha256: str
    """Of the hashes of the shards' logits, a line each."""
    shard: ShardScores
    """The first, for what all have in common."""

    @property
    def top1(self) -> float:
        """In percent."""
        return percent(np.array(self.ranks) < 1)

    @property
    def top5(self) -> float:
        """In percent."""
        return percent(np.array(self.ranks) < 5)

    @property
    def loss(self) -> float:
        """The mean cross-entropy in nats; its sum is rounded once, whatever the order."""
        return math.fsum(self.losses) / len(self.losses)

    def drop_from(self, base: MergedScores) -> Drop:
        """The paired drop from a base on the same images."""
        right = [np.array(scores.ranks) < 1 for scores in (base, self)]
        return paired_drop(*right)

    def agreement_with(self, base: MergedScores) -> float:
        """The share of images with the same first class, in percent."""
        same = sum(a == b for a, b in zip(base.first, self.first, strict=True))
        return 100 * same / len(self.first)


def merge(shards: Sequence[ShardScores]) -> MergedScores:
    """The scores on all images, from those of the shards in their order."""
    hashes = "".join(f"{shard.logits_sha256}\n" for shard in shards)
    return MergedScores(
        ranks=tuple(rank for shard in shards for rank in shard.ranks),
        first=tuple(first for shard in shards for first in shard.first),
        losses=tuple(loss for shard in shards for loss in shard.losses),
        logits_sha256=hashlib.sha256(hashes.encode()).hexdigest(),
        shard=shards[0],
    )
