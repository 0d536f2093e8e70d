"""Conditions such as `drop > 0.5 or speedup < 1.2 or undecided`: read, never evaluated as code.

    condition  = group *( "or" group )
    group      = part *( "and" part )
    part       = metric operator number | word | "(" condition ")"
    operator   = ">" | ">=" | "<" | "<="

A comparison is about the whole interval of a metric: it holds if all of it is on the threshold's
far side, does not hold if none of it is, and is undecided otherwise. `and` and `or` are those of
three values (Kleene).
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from edgenext.errors import UsageError, unknown_name
from edgenext.report.ci.metrics import Measure

UNDECIDED = "undecided"
LONGEST = 1000
"""Characters of a condition."""
DEEPEST = 20
"""Brackets in one another."""
EXAMPLE = 'Write for example "drop > 0.5 or speedup < 1.2 or undecided"'

_TOKEN = re.compile(
    r"(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?![\w.])"
    r"|(?P<word>[A-Za-z_]\w*)|(?P<operator>[<>]=?(?!=))|(?P<bracket>[()])",
    re.ASCII,
)

Measures = Mapping[str, Measure]
"""Of one artifact, by metric."""


@dataclass(frozen=True)
class Comparison:
    """A metric against a threshold; of a word, the metric alone."""

    metric: str
    operator: str = ""
    threshold: float = 0.0

    def __str__(self) -> str:
        return f"{self.metric} {self.operator} {self.threshold:g}" if self.operator else self.metric

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metric."""
        return (self.metric,)

    def holds(self, measures: Measures) -> bool | None:
        """Whether it holds of an artifact; None if that is undecided."""
        measure = measures.get(self.metric, Measure())
        if not self.operator:
            return measure.holds
        if measure.low is None or measure.high is None:
            return None
        low, high, threshold = measure.low, measure.high, self.threshold
        if self.operator in (">", "<="):
            above = _whole(low > threshold, high <= threshold)
            return above if self.operator == ">" else _not(above)
        above = _whole(low >= threshold, high < threshold)
        return above if self.operator == ">=" else _not(above)


@dataclass(frozen=True)
class Junction:
    """Parts of which all (`and`) or any (`or`) must hold."""

    operator: Literal["and", "or"]
    parts: tuple[Expression, ...]

    def __str__(self) -> str:
        parts = (f"({part})" if isinstance(part, Junction) else str(part) for part in self.parts)
        return f" {self.operator} ".join(parts)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Those of all parts, each once."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.metrics))

    def holds(self, measures: Measures) -> bool | None:
        """As of a comparison: `or` is decided by one that holds, `and` by one that does not."""
        decides = self.operator == "or"
        outcomes = [part.holds(measures) for part in self.parts]
        if decides in outcomes:
            return decides
        return None if None in outcomes else not decides


Expression = Comparison | Junction


@dataclass(frozen=True)
class Condition:
    """One alternative of `--fail-if`; `undecided_fails` is whether it must be decided."""

    expression: Expression
    undecided_fails: bool

    def __str__(self) -> str:
        return str(self.expression)


def _whole(all_above: bool, none_above: bool) -> bool | None:
    return True if all_above else False if none_above else None


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value


def read_conditions(
    text: str, known: Collection[str], words: Collection[str] = ()
) -> tuple[Condition, ...]:
    """The alternatives of a condition: the parts of its outermost `or`.

    Args:
        text: as it was typed; empty for none.
        known: metrics that can be compared, words among them.
        words: those that hold or do not, without a threshold.

    Raises:
        UsageError: it cannot be read, or names a metric that is not known.
    """
    if not text.strip():
        return ()
    if len(text) > LONGEST:
        raise UsageError(f"--fail-if has {len(text)} characters, more than {LONGEST}", EXAMPLE)
    reader = _Reader(text, known, words)
    parts = reader.alternatives(0)
    reader.end()
    conditions = [part for part in parts if part is not None]
    if not conditions:
        raise UsageError(f"--fail-if: what is to be decided? {text!r} compares nothing", EXAMPLE)
    undecided_fails = len(conditions) < len(parts)
    return tuple(Condition(part, undecided_fails) for part in conditions)


class _Reader:
    """Reads tokens from left to right; each method reads what it is called after."""

    def __init__(self, text: str, known: Collection[str], words: Collection[str]) -> None:
        self._text, self._known, self._words = text, known, words
        self._tokens = list(self._split())
        self._at = 0

    def _split(self) -> Iterator[tuple[str, str, int]]:
        at = 0
        while at < len(self._text):
            if self._text[at].isspace():
                at += 1
                continue
            match = _TOKEN.match(self._text, at)
            if match is None or match.lastgroup is None:
                raise self._unreadable(at)
            yield match.lastgroup, match[0], at
            at = match.end()

    def alternatives(self, depth: int) -> list[Expression | None]:
        """The parts of an `or`; None is `undecided`, which stands by itself."""
        parts = [self._alternative(depth)]
        while self._next("word", "or"):
            parts.append(self._alternative(depth))
        return parts

    def end(self) -> None:
        """Nothing more follows.

        Raises:
            UsageError: something does.
        """
        if self._at < len(self._tokens):
            kind, token, at = self._tokens[self._at]
            if (kind, token) == ("word", "and"):
                raise self._misplaced()
            raise self._unreadable(at)

    def _alternative(self, depth: int) -> Expression | None:
        if self._next("word", UNDECIDED):
            if depth:
                raise self._misplaced()
            return None
        parts = [self._part(depth)]
        while self._next("word", "and"):
            parts.append(self._part(depth))
        return parts[0] if len(parts) == 1 else Junction("and", tuple(parts))

    def _part(self, depth: int) -> Expression:
        if self._next("word", UNDECIDED):
            raise self._misplaced()
        if self._next("bracket", "("):
            if depth >= DEEPEST:
                raise UsageError(f"--fail-if has more than {DEEPEST} brackets in one another")
            parts = [part for part in self.alternatives(depth + 1) if part is not None]
            self._take("bracket", ")")
            return parts[0] if len(parts) == 1 else Junction("or", tuple(parts))
        metric = self._take("word")
        if metric in ("and", "or"):
            raise self._unreadable(self._tokens[self._at - 1][2])
        if metric not in self._known:
            raise unknown_name("metric of --fail-if", metric, (*self._known, UNDECIDED))
        if metric in self._words:
            return Comparison(metric)
        operator = self._take("operator")
        threshold = float(self._take("number"))
        if not math.isfinite(threshold):
            raise UsageError(f"--fail-if: {metric} is compared with no finite number", EXAMPLE)
        return Comparison(metric, operator, threshold)

    def _next(self, kind: str, token: str) -> bool:
        """Read a token if it is the next one."""
        if self._at < len(self._tokens) and self._tokens[self._at][:2] == (kind, token):
            self._at += 1
            return True
        return False

    def _take(self, kind: str, token: str = "") -> str:
        if self._at == len(self._tokens):
            raise self._unreadable(len(self._text))
        found, text, at = self._tokens[self._at]
        if found != kind or (token and text != token):
            raise self._unreadable(at)
        self._at += 1
        return text

    def _unreadable(self, at: int) -> UsageError:
        rest = self._text[at : at + 20]
        where = f"at {rest!r} (character {at + 1})" if rest else "at its end"
        return UsageError(f"--fail-if {self._text!r} cannot be read {where}", EXAMPLE)

    def _misplaced(self) -> UsageError:
        return UsageError(
            f"--fail-if: {UNDECIDED} stands by itself, joined with `or`: no brackets and no `and`",
            EXAMPLE,
        )
