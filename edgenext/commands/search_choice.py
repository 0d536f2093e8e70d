"""How a search chooses: which images, which candidate, and what it says of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgenext.commands.sample_size import images_shortage
from edgenext.data import ImageSet
from edgenext.errors import DataError
from edgenext.metrics.sequence import INTERVALS
from edgenext.metrics.statistics import (
    Interval,
    images_needed,
    images_without_drop,
    tango_interval,
)
from edgenext.report.text import decided_after, interval_name
from edgenext.schema import Candidate, Comparison
from edgenext.targets.scheme import FLOAT

OBJECTIVES = ("latency", "size")
"""What a search can make small."""


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


def _counts(candidate: Candidate, objective: str) -> bool:
    """Whether a candidate's cost can be compared: a latency that is not valid cannot."""
    return candidate.valid or objective != "latency"


def is_base(candidate: Candidate) -> bool:
    """Whether it is the float file, with which all others are compared."""
    return candidate.comparison.scheme == FLOAT


def with_front(candidates: Sequence[Candidate], objective: str) -> list[Candidate]:
    """Candidates marked when no other is both cheaper and nearer to the float network."""

    def is_dominated(one: Candidate) -> bool:
        return any(
            _cost(other, objective) < _cost(one, objective)
            and other.comparison.sqnr_db > one.comparison.sqnr_db
            for other in candidates
            if _counts(other, objective)
        )

    return [
        c.model_copy(update={"front": _counts(c, objective) and not is_dominated(c)})
        for c in candidates
    ]


def shortage(
    choosing: int, reporting: int, budget: float, interval: Interval = tango_interval
) -> str:
    """What the images of a search cannot show of a budget in points; empty if they may show it.

    Args:
        choosing: images that choose.
        reporting: images that report.
        budget: points of top-1.
        interval: the kind that is to show it.
    """
    have = f"{choosing:,} images choose and {reporting:,} report"
    return images_shortage(have, min(choosing, reporting), budget, parts=2, interval=interval)


def choose(candidates: Sequence[Candidate], objective: str, noise_floor: float = 0.0) -> Candidate:
    """The cheapest quantized candidate that meets the budget, else the one that comes nearest.

    Of latencies only valid ones count; if no candidate that meets the budget has one, the one
    nearest to the float network is chosen. Candidates within the noise floor of the fastest do not
    differ from it measurably: the one nearest to the float network is taken among them. The float
    file is the base of the comparison, not a candidate.
    """
    quantized = [c for c in candidates if not is_base(c)]
    meeting = [c for c in quantized if c.meets]
    if not meeting:
        return min(quantized, key=lambda c: c.comparison.drop.ci95[1])
    comparable = [c for c in meeting if _counts(c, objective)]
    if objective == "latency" and comparable:
        limit = (1 + noise_floor) * min(c.p50_ms for c in comparable)
        comparable = [c for c in comparable if c.p50_ms <= limit]
    elif comparable:
        return min(comparable, key=lambda c: _cost(c, objective))
    return max(comparable or meeting, key=lambda c: c.comparison.sqnr_db)


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
    kind, after = interval_name(final.drop), decided_after(final.decision)
    drop = f"{final.drop.points:.2f} points ({kind} {low:.2f} to {high:.2f}, n = {n}{after})"
    name = final.artifact
    if high < budget:
        return (
            f"{name} stays under the budget of {budget:g} points: on images the search has "
            f"not seen it costs {drop}, {_gain(base, chosen, objective)}."
        )
    if low > budget:
        return (
            f"No candidate stays under the budget of {budget:g} points; the best is {name}, which "
            f"costs {drop}: its whole interval is over the budget."
        )
    return (
        f"No candidate is shown to stay under the budget of {budget:g} points; the best is "
        f"{name}, which costs {drop}: {_advice(final, budget, n)}."
    )


def _gain(base: Candidate, chosen: Candidate, objective: str) -> str:
    if objective == "size":
        return f"at {chosen.size_bytes / base.size_bytes:.2f}x the size of the float file"
    if not chosen.valid:
        return "and it was chosen for its accuracy, since no timing of such a candidate is valid"
    if not base.valid:
        return "at a speed that is not known, since the timing of the float file is not valid"
    speed = f"at {chosen.speed:.2f}x the speed of the float file"
    limits = chosen.speed_ci95
    if limits and limits[0] <= 1 <= limits[1]:
        return f"{speed}, which is no measurable difference on this machine"
    return speed


def _advice(final: Comparison, budget: float, n: int) -> str:
    """How many images would decide, where the interval contains the budget."""
    drop = final.drop
    interval = INTERVALS[drop.interval]
    more = images_needed(drop.lost, drop.gained, n, budget, interval)
    if more is not None:
        return f"about {more:,} images would tell"
    open_question = "its interval contains the budget, so these images cannot tell"
    without_drop = images_without_drop((drop.lost + drop.gained) / n, budget, interval)
    if without_drop is None:
        return open_question
    return (
        f"{open_question}; if it had no drop, and as many answers changed, about "
        f"{without_drop:,} images would show it"
    )
