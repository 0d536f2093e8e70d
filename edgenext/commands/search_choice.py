"""How a search chooses: which images, which candidate, and what it says of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgenext.data import ImageSet
from edgenext.errors import DataError
from edgenext.metrics.statistics import images_needed
from edgenext.schema import Candidate, Comparison
from edgenext.targets.scheme import FLOAT


def halves(images: ImageSet, seed: int) -> tuple[ImageSet, ImageSet]:
    """Two disjoint halves of labelled images, each class in both.

    Raises:
        DataError: fewer than two images.
    """
    if len(images) < 2:
        raise DataError(
            f"{images.info.data} has too few images to choose on some and report others"
        )
    order = np.random.default_rng(seed).permutation(len(images))
    by_class = order[np.argsort(images.labels[order], kind="stable")]
    return images.take(np.sort(by_class[::2])), images.take(np.sort(by_class[1::2]))


def _cost(candidate: Candidate, objective: str) -> float:
    return candidate.p50_ms if objective == "latency" else float(candidate.size_bytes)


def with_front(candidates: Sequence[Candidate], objective: str) -> list[Candidate]:
    """Candidates marked when no other is both cheaper and nearer to the float network."""

    def is_dominated(one: Candidate) -> bool:
        return any(
            _cost(other, objective) < _cost(one, objective)
            and other.comparison.sqnr_db > one.comparison.sqnr_db
            for other in candidates
        )

    return [c.model_copy(update={"front": not is_dominated(c)}) for c in candidates]


def choose(candidates: Sequence[Candidate], objective: str) -> Candidate:
    """The cheapest quantized candidate that meets the budget, else the one that comes nearest.

    The float file is the base of the comparison, not a candidate.
    """
    quantized = [c for c in candidates if c.comparison.scheme != FLOAT]
    meeting = [c for c in quantized if c.meets]
    if meeting:
        return min(meeting, key=lambda c: _cost(c, objective))
    return min(quantized, key=lambda c: c.comparison.drop.ci95[1])


def sentence(
    base: Candidate, chosen: Candidate, final: Comparison, *, budget: float, objective: str, n: int
) -> str:
    """The result in one sentence with its evidence.

    Args:
        base: the float file.
        chosen: the candidate.
        final: its comparison with the float file on the images kept for reporting.
        budget: points of top-1.
        objective: `latency` or `size`.
        n: images kept for reporting.
    """
    low, high = final.drop.ci95
    drop = f"{final.drop.points:.2f} points (95 % interval {low:.2f} to {high:.2f}, n = {n})"
    name = final.artifact
    if high < budget:
        gain = f"{chosen.speed:.2f}x the speed"
        if objective == "size":
            gain = f"{chosen.size_bytes / base.size_bytes:.2f}x the size"
        return (
            f"{name} stays under the budget of {budget:g} points: on images the search has "
            f"not seen it costs {drop}, at {gain} of the float file."
        )
    more = images_needed(final.drop.lost, final.drop.gained, n, budget)
    advice = (
        f"about {more:,} images would tell"
        if more is not None
        else "its drop alone is over the budget, and no number of images would change that"
    )
    return (
        f"No candidate is shown to stay under the budget of {budget:g} points; the best is "
        f"{name}, which costs {drop}: {advice}."
    )
