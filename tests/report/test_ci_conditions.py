"""Conditions of `--fail-if`: how they are read, and what they mean of intervals."""

from __future__ import annotations

import random

import pytest

from edgenext.errors import EdgenextError, UsageError
from edgenext.report.ci.expression import read_conditions
from edgenext.report.ci.metrics import Measure, metrics

KNOWN = tuple(metrics())
WORDS = ("do_not_ship",)


def read(text: str) -> list[tuple[str, bool]]:
    return [(str(c), c.undecided_fails) for c in read_conditions(text, KNOWN, WORDS)]


def holds(text: str, **measures: Measure) -> bool | None:
    (condition,) = read_conditions(text, KNOWN, WORDS)
    return condition.expression.holds(measures)


def test_alternatives_are_conditions() -> None:
    assert read("drop>0.5 or speedup<1.2 or undecided") == [
        ("drop > 0.5", True), ("speedup < 1.2", True),
    ]  # fmt: skip
    assert read("drop >= -.5e0") == [("drop >= -0.5", False)]
    assert read("(drop>1 or sqnr<20) and size_ratio<=.4 or top1<70") == [
        ("(drop > 1 or sqnr < 20) and size_ratio <= 0.4", False),
        ("top1 < 70", False),
    ]
    assert read("undecided or do_not_ship") == [("do_not_ship", True)]
    assert read(" \n") == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("drop", "cannot be read at its end"),
        ("drop >", "cannot be read at its end"),
        ("drop > 0.5 or", "cannot be read at its end"),
        ("(drop > 0.5", "cannot be read at its end"),
        ("drop > 0.5)", "at ')'"),
        ("drop == 0.5", "at '== 0.5' (character 6)"),
        ("drop => 0.5", "at '=> 0.5'"),
        ("drop >== 0.5", "at '>== 0.5'"),
        ("drop > 0.5points", "at '0.5points'"),
        ("drop > 0.5 %", "at '%'"),
        ("drop > 0.5 speedup < 1", "at 'speedup < 1'"),
        ("0.5 < drop", "at '0.5 < drop'"),
        ("0.1 < drop < 0.5", "at '0.1 < drop < 0.5'"),
        ("drop > speedup", "at 'speedup'"),
        ("drop > nan", "at 'nan'"),
        ("drop > 1e999", "no finite number"),
        ("drop > 0.5 and undecided", "stands by itself"),
        ("undecided and drop > 0.5", "stands by itself"),
        ("(drop > 0.5 or undecided)", "stands by itself"),
        ("undecided", "compares nothing"),
        ("or", "at 'or'"),
        ("and drop > 1", "at 'and drop > 1'"),
        ("dorp > 0.5", "unknown metric of --fail-if 'dorp'. Did you mean drop or top1?"),
        ("undecidde or drop > 1", "Did you mean undecided"),
        ("do_not_ship > 1", "at '> 1'"),
        ("not drop > 1", "unknown metric of --fail-if 'not'"),
        ("drop > 0,5", "at ',5'"),
        ("drop > 0.5; import os", "at '; import os'"),
        ("__import__('os').system('x')", "cannot be read at"),
        ("drop.__class__ > 1", "at '.__class__"),
        ("drop > １", "cannot be read"),
        ("(" * 21 + "drop > 1" + ")" * 21, "more than 20 brackets"),
        ("drop > 1 or " * 200 + "drop > 2", "more than 1000"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        read(text)
    assert says in str(caught.value)


def test_whatever_is_typed_is_read_or_refused() -> None:
    pieces = ("drop", "speedup", "undecided", "and", "or", "(", ")", "<", ">=", "1", "-.5", "=",
              "'", " ", "\0", "é", "do_not_ship", "..", "e5")  # fmt: skip
    rng, outcomes = random.Random(0), set()  # noqa: S311
    for _ in range(3000):
        text = " ".join(rng.choices(pieces, k=rng.randint(1, 8)))
        try:
            again = " or ".join(name for name, _ in read(text))
        except EdgenextError:
            outcomes.add("refused")
        else:
            outcomes.add("read")
            assert [name for name, _ in read(again)] == [name for name, _ in read(text)]
    assert outcomes == {"read", "refused"}


INTERVAL = Measure(0.5, 0.2, 0.8)


@pytest.mark.parametrize(
    ("threshold", "above", "at_least"),
    [(0.1, True, True), (0.2, None, True), (0.5, None, None), (0.8, False, None),
     (0.9, False, False)],
)  # fmt: skip
def test_a_threshold_applies_to_the_ends_of_an_interval(
    threshold: float, above: bool | None, at_least: bool | None
) -> None:
    def opposite(value: bool | None) -> bool | None:
        return None if value is None else not value

    assert holds(f"drop > {threshold}", drop=INTERVAL) is above
    assert holds(f"drop >= {threshold}", drop=INTERVAL) is at_least
    assert holds(f"drop <= {threshold}", drop=INTERVAL) is opposite(above)
    assert holds(f"drop < {threshold}", drop=INTERVAL) is opposite(at_least)


def test_an_exact_value_is_always_decided() -> None:
    exact = Measure.exact(0.5)
    assert holds("size_ratio > 0.5", size_ratio=exact) is False
    assert holds("size_ratio >= 0.5", size_ratio=exact) is True


def test_what_was_not_measured_is_undecided() -> None:
    assert holds("drop > 0.5") is None
    assert holds("speedup < 1.2", speedup=Measure(1.0, reason="not valid: busy")) is None
    assert holds("do_not_ship", do_not_ship=Measure(holds=None)) is None
    assert holds("do_not_ship", do_not_ship=Measure(holds=True)) is True


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sqnr > 1 and drop > 0.5", None),
        ("sqnr < 1 and drop > 0.5", False),
        ("(sqnr > 1 or drop > 0.5) and sqnr > 0", True),
        ("(sqnr < 1 or drop > 0.5) and sqnr > 0", None),
        ("(sqnr < 1 or drop > 0.9) and sqnr > 0", False),
    ],
)
def test_three_values_are_joined(text: str, expected: bool | None) -> None:
    assert holds(text, drop=INTERVAL, sqnr=Measure.exact(20.0)) is expected


def test_every_metric_is_of_a_command() -> None:
    for name, metric in metrics().items():
        assert metric.about and set(metric.commands) <= {"compare", "run", "search", "bench"}
        assert metric.commands and (metric.unit or metric.is_word), name
