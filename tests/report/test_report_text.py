from __future__ import annotations

import math

import pytest

from edgenext.report import text


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [(0.06, 2, "0.06"), (-0.28, 2, "−0.28"), (-0.001, 2, "0.00"), (12345.6, 1, "12,345.6")],
)
def test_numbers(value: float, digits: int, shown: str) -> None:
    assert text.number(value, digits) == shown


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_a_dash(value: float) -> None:
    assert text.number(value, 2) == text.milliseconds(value) == "–"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(44.94, "44.9"), (8.261, "8.26"), (0.0123, "0.0123"), (123.4, "123"), (1234.0, "1,234")],
)
def test_milliseconds_have_three_digits(value: float, shown: str) -> None:
    assert text.milliseconds(value) == shown


def test_a_factor_near_one_shows_which_side_it_is_on() -> None:
    assert text.times(1.62, 1.6, 1.64) == ("1.62x", "1.60–1.64")
    assert text.times(1.01, 1.002, 1.02) == ("1.010x", "1.002–1.020")
    assert text.times(0.999, 0.998, 1.0) == ("0.999x", "0.998–1.000")


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0004, "< 0.001"), (0.012, "0.012"), (0.823, "0.82"), (1.0, "1.00")]
)
def test_p_values(value: float, shown: str) -> None:
    assert text.p_value(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(1.0, "1 point"), (0.5, "0.5 points"), (2.0, "2 points"), (0, "0 points")]
)
def test_points(value: float, shown: str) -> None:
    assert text.points(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.44, "0.4 s"),
        (41.2, "41 s"),
        (59.7, "1 min 0 s"),
        (201, "3 min 21 s"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations(value: float, shown: str) -> None:
    assert text.duration(value) == shown


@pytest.mark.parametrize(("value", "shown"), [(7, 7), (2345, 2400), (99_100, 100_000), (120, 120)])
def test_estimates_are_rounded_up(value: int, shown: int) -> None:
    assert text.round_up(value) == shown


def test_text_is_one_line_without_tricks() -> None:
    assert text.clean("a\n\tb\u2028c") == "a b c"
    assert text.clean("\u202ecod.exe\x00\x1b[31m") == "\ufffdcod.exe\ufffd\ufffd[31m"
    assert text.clean("Größe 名前 × −") == "Größe 名前 × −"


def test_a_reason_is_said_once_with_the_range_of_its_numbers() -> None:
    vary = "the rounds vary by {}% (limit 10%): wait"
    reasons = [
        ("a", (vary.format(34), "busy")),
        ("b", (vary.format("7.5"),)),
        ("c", (vary.format(21), "3 is too few")),
        ("d", ("3 # is too few",)),
    ]
    assert text.reasons_once(reasons) == [
        (["a", "b", "c"], "the rounds vary by 7.5 to 34% (limit 10%): wait"),
        (["a"], "busy"),
        (["c"], "3 is too few"),
        (["d"], "3 # is too few"),
    ]
    assert text.enumerated(["a"]) == "a" and text.enumerated(["a", "b", "c"]) == "a, b and c"


def test_counts() -> None:
    assert text.count(1, "image") == "1 image"
    assert text.count(5000, "image") == "5,000 images"
