"""How a search chooses: which images, which candidate, and what it says of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgenext.data import ImageSet
from edgenext.errors import DataError
from edgenext.metrics.statistics import images_needed, images_without_drop, tango_interval
from edgenext.schema import Candidate, Comparison
from edgenext.targets.scheme import FLOAT

OBJECTIVES = ("latency", "size")
"""What a search can make small."""

EXPECTED_FLIPS = 0.01
"""The share of images that an INT8 file loses or gains: 0.4 to 0.8 % of 5,000 were measured for
EdgeNeXt-XXS (results/, README)."""


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


def shortage(choosing: int, reporting: int, budget: float) -> str:
    """What the images of a search cannot show of a budget in points; empty if they may show it.

    Args:
        choosing: images that choose.
        reporting: images that report.
        budget: points of top-1.
    """
    n = min(choosing, reporting)
    least, expected = images_without_drop(0, budget), images_without_drop(EXPECTED_FLIPS, budget)
    if expected is not None and n >= expected:
        return ""
    have = f"{choosing:,} images choose and {reporting:,} report"
    if least is None or expected is None:
        return (
            f"{have}: no number of images can show a budget of {budget:g} points for a file that "
            "gains no more images than it loses: use a budget above 0"
        )
    flips = f"{100 * EXPECTED_FLIPS / 2:g} % lost and gained"
    reach = tango_interval(0, 0, n)[1]
    enough = f"{2 * expected:,} labelled images ({expected:,} in each half)"
    if n < least:
        return (
            f"{have}, which is too few for a budget of {budget:g} points: even if no answer "
            f"changes, the interval of {n:,} images reaches {reach:.2f} points. At least "
            f"{2 * least:,} labelled images can show it, and {enough} with {flips}"
        )
    reach = tango_interval(EXPECTED_FLIPS / 2 * n, EXPECTED_FLIPS / 2 * n, n)[1]
    return (
        f"{have}, which can show a budget of {budget:g} points only for a file that changes almost "
        f"no answer: with {flips} the interval reaches {reach:.2f} points. {enough} can show it"
    )


def what_images_show(data: str, n: int, budget: float) -> str:
    """What a number of evaluation images can show of a drop, in a sentence.

    Args:
        data: what the images are called.
        n: how many there are.
        budget: points of top-1.

    >>> what_images_show("photos", 30, 1.0).split("; ")[1]
    'about 616 images can show less than 1 point'
    """
    flips = EXPECTED_FLIPS / 2 * n
    least, usual = (tango_interval(k, k, n)[1] for k in (0, flips))
    share = f"{100 * EXPECTED_FLIPS / 2:g} %"
    text = (
        f"{data}: {n:,} images to evaluate on can show that top-1 drops by less than {least:.2f} "
        f"points if no answer changes, and by less than {usual:.2f} with {share} lost and gained"
    )
    enough = images_without_drop(EXPECTED_FLIPS, budget)
    if enough is None or n >= enough:
        return text
    points = "1 point" if budget == 1 else f"{budget:g} points"
    return f"{text}; about {enough:,} images can show less than {points}"


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
    drop = f"{final.drop.points:.2f} points (95 % interval {low:.2f} to {high:.2f}, n = {n})"
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
    more = images_needed(drop.lost, drop.gained, n, budget)
    if more is not None:
        return f"about {more:,} images would tell"
    open_question = "its interval contains the budget, so these images cannot tell"
    without_drop = images_without_drop((drop.lost + drop.gained) / n, budget)
    if without_drop is None:
        return open_question
    return (
        f"{open_question}; if it had no drop, and as many answers changed, about "
        f"{without_drop:,} images would show it"
    )
