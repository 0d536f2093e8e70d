"""What a number of images can show of a budget, in sentences."""

from __future__ import annotations

from edgenext.metrics.statistics import Interval, images_without_drop, tango_interval

EXPECTED_FLIPS = 0.01
"""The share of images that an INT8 file loses or gains: 0.4 to 0.8 % of 5,000 were measured for
EdgeNeXt-XXS (results/, README)."""


def images_shortage(
    images: str, n: int, budget: float, *, parts: int = 1, interval: Interval = tango_interval
) -> str:
    """What images cannot show of a budget in points; empty if they may show it.

    Args:
        images: what there is, in words.
        n: how many there are; of several parts, in the smallest.
        budget: points of top-1.
        parts: into how many parts the labelled images are divided.
        interval: the kind that is to show it.
    """
    least = images_without_drop(0, budget, interval)
    expected = images_without_drop(EXPECTED_FLIPS, budget, interval)
    if expected is not None and n >= expected:
        return ""
    if least is None or expected is None:
        return (
            f"{images}: no number of images can show a budget of {budget:g} points for a file that "
            "gains no more images than it loses: use a budget above 0"
        )
    flips = f"{100 * EXPECTED_FLIPS / 2:g} % lost and gained"
    reach = interval(0, 0, n)[1]
    each = f" ({expected:,} in each half)" if parts > 1 else ""
    enough = f"{parts * expected:,} labelled images{each}"
    if n < least:
        return (
            f"{images}, which is too few for a budget of {budget:g} points: even if no answer "
            f"changes, the interval of {n:,} images reaches {reach:.2f} points. At least "
            f"{parts * least:,} labelled images can show it, and {enough} with {flips}"
        )
    reach = interval(EXPECTED_FLIPS / 2 * n, EXPECTED_FLIPS / 2 * n, n)[1]
    return (
        f"{images}, which can show a budget of {budget:g} points only for a file that changes "
        f"almost no answer: with {flips} the interval reaches {reach:.2f} points. {enough} can "
        "show it"
    )


def what_images_show(data: str, n: int, budget: float, interval: Interval = tango_interval) -> str:
    """What a number of evaluation images can show of a drop, in a sentence.

    Args:
        data: what the images are called.
        n: how many there are.
        budget: points of top-1.
        interval: the kind that is to show it.

    >>> what_images_show("photos", 30, 1.0).split("; ")[1]
    'about 616 images can show less than 1 point'
    """
    flips = EXPECTED_FLIPS / 2 * n
    least, usual = (interval(k, k, n)[1] for k in (0, flips))
    share = f"{100 * EXPECTED_FLIPS / 2:g} %"
    text = (
        f"{data}: {n:,} images to evaluate on can show that top-1 drops by less than {least:.2f} "
        f"points if no answer changes, and by less than {usual:.2f} with {share} lost and gained"
    )
    enough = images_without_drop(EXPECTED_FLIPS, budget, interval)
    if enough is None or n >= enough:
        return text
    points = "1 point" if budget == 1 else f"{budget:g} points"
    return f"{text}; about {enough:,} images can show less than {points}"
