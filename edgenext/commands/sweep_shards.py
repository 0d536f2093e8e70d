"""Evaluation in shards: a record of each shard, which together give exactly the whole."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from edgenext.errors import DataError
from edgenext.formats.session import Logits
from edgenext.metrics.accuracy import Labels, paired_drop, percent, ranks, require_scorable
from edgenext.metrics.fidelity import fidelity_rows, log_softmax, sqnr_db
from edgenext.schema import Drop, ShardScores

FIDELITY = ("signal", "noise", "cosine", "kl")
"""The fields of `ShardScores` that a base decides too."""


def shard_rows(
    name: str, values: Logits, labels: Labels, base: Logits | None = None
) -> dict[str, Any]:
    """The fields of `ShardScores` that follow from logits.

    Args:
        name: of the file, for messages.
        values: its logits, N×K.
        labels: of the images.
        base: the logits of the base, N×K; None of the base itself.

    Raises:
        DataError: labels outside the K classes, or another shape than the base's.
        RuntimeFailedError: logits that are not finite.
    """
    require_scorable(name, values, labels)
    losses = -log_softmax(values)[np.arange(len(values)), labels]
    rows = {
        "ranks": ranks(values, labels).tolist(),
        "first": values.argmax(1).tolist(),
        "losses": losses.tolist(),
        "logits_sha256": hashlib.sha256(values.astype("<f4").tobytes()).hexdigest(),
    }
    if base is None:
        return rows
    if base.shape != values.shape:
        raise DataError(f"{name} has logits of {values.shape}, and its base of {base.shape}")
    closeness = fidelity_rows(base, values)
    return rows | {field: getattr(closeness, field).tolist() for field in FIDELITY}


@dataclass(frozen=True)
class MergedScores:
    """The scores of a file on all images, from those of its shards in their order.

    Sums are rounded once, whatever the shards are and whoever computed them.
    """

    shards: tuple[ShardScores, ...]

    @property
    def ranks(self) -> tuple[int, ...]:
        """The number of classes ranked before each image's own."""
        return tuple(chain.from_iterable(shard.ranks for shard in self.shards))

    @property
    def first(self) -> tuple[int, ...]:
        """The class ranked first, of each image."""
        return tuple(chain.from_iterable(shard.first for shard in self.shards))

    @property
    def logits_sha256(self) -> str:
        """Of the hashes of the shards' logits, a line each."""
        hashes = "".join(f"{shard.logits_sha256}\n" for shard in self.shards)
        return hashlib.sha256(hashes.encode()).hexdigest()

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
        """The mean cross-entropy in nats."""
        return self._mean("losses")

    @property
    def sqnr_db(self) -> float:
        """The SQNR of the centred logits against the base's."""
        return sqnr_db(math.fsum(self._all("signal")), math.fsum(self._all("noise")))

    @property
    def cosine(self) -> float:
        """The mean cosine of the logits and the base's."""
        return self._mean("cosine")

    @property
    def kl(self) -> float:
        """The mean divergence of the softmax from the base's, in nats."""
        return self._mean("kl")

    def drop_from(self, base: MergedScores) -> Drop:
        """The paired drop from a base on the same images."""
        right = [np.array(scores.ranks) < 1 for scores in (base, self)]
        return paired_drop(*right)

    def agreement_with(self, base: MergedScores) -> float:
        """The share of images with the same first class, in percent."""
        same = sum(a == b for a, b in zip(base.first, self.first, strict=True))
        return 100 * same / len(self.first)

    def _mean(self, field: str) -> float:
        return math.fsum(self._all(field)) / len(self.ranks)

    def _all(self, field: str) -> Iterable[float]:
        return chain.from_iterable(getattr(shard, field) for shard in self.shards)


def merge(shards: Sequence[ShardScores]) -> MergedScores:
    """The scores on all images, from those of the shards in their order."""
    return MergedScores(tuple(shards))
