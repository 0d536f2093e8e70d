"""What a search chooses, and what it says of it: candidates without files."""

from __future__ import annotations

import pytest
from drops import drop_of

from edgenext.commands.search_choice import choose, sentence, shortage, with_front
from edgenext.metrics.statistics import tango_interval
from edgenext.schema import Candidate, Comparison


def comparison(name: str, lost: int, gained: int, n: int = 300, db: float = 30.0) -> Comparison:
    return Comparison(
        artifact=name,
        top1=90.0,
        top5=99.0,
        drop=drop_of(lost, gained, n),
        agreement=99.0,
        sqnr_db=db,
        cosine=1.0,
        kl=0.0,
        scheme="fp32" if name == "fp32" else "w8a8-static",
    )


def candidate(name: str, ms: float, db: float = 30.0, *, valid: bool = True, meets: bool = True,
              size: int = 100, apart: bool = True) -> Candidate:  # fmt: skip
    speed = 10 / ms
    return Candidate(
        comparison=comparison(name, 0, 0, db=db),
        size_bytes=size,
        p50_ms=ms,
        speed=speed,
        speed_ci95=(speed * 0.99, speed * 1.01) if apart else (0.9, 1.2),
        valid=valid,
        meets=meets,
    )


BASE = candidate("fp32", 10.0, 200.0, size=400)


def chosen(*candidates: Candidate, objective: str = "latency", floor: float = 0.01) -> str:
    return choose([BASE, *candidates], objective, floor).comparison.artifact


def test_a_latency_that_is_not_valid_never_wins() -> None:
    lucky, honest = candidate("lucky", 2.0, valid=False), candidate("honest", 5.0)
    assert chosen(lucky, honest) == "honest"
    assert chosen(lucky, honest, objective="size") == "lucky", "its size is what it is"
    exact = candidate("exact", 9.0, db=40.0, valid=False)
    assert chosen(lucky, exact) == "exact", "without a valid latency the nearest one is taken"
    marked = with_front([BASE, lucky, honest], "latency")
    assert [c.front for c in marked] == [True, False, True]


def test_of_those_within_the_noise_floor_the_nearest_is_taken() -> None:
    fast = candidate("fast", 5.0, 29.0)
    close, far = candidate("close", 5.08, 31.0), candidate("far", 5.4, 35.0)
    assert chosen(fast, close, far, floor=0.01) == "fast"
    assert chosen(fast, close, far, floor=0.02) == "close"
    assert chosen(fast, close, far, floor=0.10) == "far"


def test_without_one_that_meets_the_budget_the_nearest_to_it_is_taken() -> None:
    good = candidate("good", 9.0, meets=False)
    bad = good.model_copy(update={"comparison": comparison("bad", 40, 0)})
    assert chosen(bad, good) == "good"


@pytest.mark.parametrize(
    ("lost", "gained", "n", "says", "never"),
    [
        # the interval holds the budget, though the measured drop is over it
        (4, 1, 300, "its interval contains the budget, so these images cannot tell", "no number"),
        (2, 1, 300, "images would tell", "no number"),
        (90, 2, 300, "its whole interval is over the budget", "would"),
    ],
)
def test_a_budget_that_is_not_shown(lost: int, gained: int, n: int, says: str, never: str) -> None:
    final = comparison("int8", lost, gained, n)
    text = sentence(
        BASE, candidate("int8", 5.0), final, budget=0.5, objective="latency", n=n
    )  # fmt: skip
    assert says in text and never not in text
    low, high = final.drop.ci95
    assert ("contains the budget" in text or "would tell" in text) == (low <= 0.5 <= high)


def test_the_images_that_would_show_no_drop_are_enough() -> None:
    text = sentence(
        BASE, candidate("x", 5.0), comparison("x", 4, 1), budget=0.5, objective="latency", n=300
    )
    needed = int(text.rpartition("about ")[2].split()[0].replace(",", ""))
    half = 5 / 300 / 2
    assert tango_interval(half * needed, half * needed, needed)[1] < 0.5
    assert tango_interval(half * (needed - 1), half * (needed - 1), needed - 1)[1] >= 0.5


def test_a_gain_is_claimed_only_where_it_was_measured() -> None:
    final = comparison("x", 0, 0, 5000)

    def text(one: Candidate, base: Candidate = BASE) -> str:
        return sentence(base, one, final, budget=0.5, objective="latency", n=5000)

    assert text(candidate("x", 5.0)).endswith("at 2.00x the speed of the float file.")
    assert "no measurable difference on this machine" in text(candidate("x", 9.5, apart=False))
    assert "no timing of such a candidate is valid" in text(candidate("x", 5.0, valid=False))
    unknown = text(candidate("x", 5.0), candidate("fp32", 10.0, valid=False))
    assert "2.00x" not in unknown and "timing of the float file is not valid" in unknown


@pytest.mark.parametrize(
    ("n", "budget", "says"),
    [
        (300, 0.5, "even if no answer changes, the interval of 300 images reaches 1.26 points"),
        (764, 0.5, "At least 1,530 labelled images can show it"),
        (765, 0.5, "only for a file that changes almost no answer"),
        (1848, 0.5, "3,698 labelled images (1,849 in each half) can show it"),
        (1849, 0.5, ""),
        (100, 90, ""),
        (5000, 0, "no number of images can show a budget of 0 points"),
        (1, 1, "1 images choose and 1 report"),
    ],
)
def test_what_the_images_cannot_show_is_said(n: int, budget: float, says: str) -> None:
    text = shortage(n, n + 1, budget) if n > 1 else shortage(n, n, budget)
    assert (says in text) if says else text == ""


def test_the_limits_of_a_shortage_are_those_of_the_interval() -> None:
    for n, shown in ((764, False), (765, True)):
        assert (tango_interval(0, 0, n)[1] < 0.5) is shown
    for n, shown in ((1848, False), (1849, True)):
        assert (tango_interval(0.005 * n, 0.005 * n, n)[1] < 0.5) is shown
