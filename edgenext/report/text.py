"""Numbers and names as they are shown to a reader."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence

from edgenext.schema import BudgetDecision, Drop

NOTHING = "–"
"""Shown in place of a missing number."""


_NUMBER = re.compile(r"\d+(?:\.\d+)?")

UNSAFE = ("Cc", "Cf", "Cs")
"""Unicode categories that are not shown: control, format and surrogate characters."""


def clean(text: str) -> str:
    """Text on one line: white space collapsed, control and direction characters replaced.

    Names come from other people's files: a character that ends or reverses a line could change
    what a report appears to say.
    """
    line = " ".join(text.split())
    return "".join("\ufffd" if unicodedata.category(c) in UNSAFE else c for c in line)


def spreadsheet_text(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    line = clean(text)
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line


def prose(text: str, plain: Callable[[str], str], code: Callable[[str], str]) -> str:
    """A sentence in which backticks mark code, with its parts escaped by the two functions."""
    parts = []
    for i, part in enumerate(text.split("`")):
        start, end = part.startswith(" "), part.endswith(" ") and part != " "
        parts.append(code(part) if i % 2 else f"{' ' * start}{plain(part)}{' ' * end}")
    return "".join(parts)


def number(value: float, digits: int = 0) -> str:
    """Fixed digits, thousands separated by commas, with a real minus sign and no −0."""
    if not math.isfinite(value):
        return NOTHING
    # Adding 0.0 turns the −0 of a rounded small negative number to 0.
    return f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", "−")


def span(low: float, high: float, digits: int) -> str:
    """An interval that may be negative: `−0.28 to 0.40`."""
    return f"{number(low, digits)} to {number(high, digits)}"


def milliseconds(value: float) -> str:
    """Three significant digits."""
    if not math.isfinite(value) or value <= 0:
        return NOTHING
    return number(value, max(0, 2 - math.floor(math.log10(value))))


def significant(value: float) -> str:
    """Three significant digits, of small and large numbers alike."""
    return f"{value:.3g}".replace("-", "−")


def times(value: float, low: float, high: float) -> tuple[str, str]:
    """A factor and its interval, `1.62x` and `1.60–1.64`; a third digit where two would show 1."""
    near_one = any(round(v, 2) == 1 and v != 1 for v in (value, low, high))
    digits = 3 if near_one else 2
    return f"{number(value, digits)}x", f"{number(low, digits)}–{number(high, digits)}"


def p_value(value: float) -> str:
    """Two digits, three below 0.1."""
    if value < 0.001:
        return "< 0.001"
    return number(value, 3 if value < 0.1 else 2)


def decibels(value: float) -> str:
    """One digit; the SQNR of equal logits is limited to 200 dB."""
    return "≥ 200" if value >= 200 else number(value, 1)


def points(value: float) -> str:
    """A budget or a drop with its unit: `1 point`, `0.5 points`."""
    shown = number(value, 2).rstrip("0").rstrip(".") if value != round(value) else number(value)
    return f"{shown} point" if shown == "1" else f"{shown} points"


def count(value: int, one: str, many: str = "") -> str:
    """`1 image`, `5,000 images`."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def enumerated(names: Sequence[str]) -> str:
    """`A`, `A and B`, `A, B and C`."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def reasons_once(reasons: Iterable[tuple[str, Sequence[str]]]) -> list[tuple[list[str], str]]:
    """Each reason once, with the names that it is about.

    Reasons that differ in their numbers alone become one, with the range of each number: `vary by
    21 to 34%`.

    Args:
        reasons: names, and the reasons of each.
    """
    names: dict[tuple[str, ...], list[str]] = {}
    texts: dict[tuple[str, ...], list[str]] = {}
    for name, own in reasons:
        for reason in own:
            form = tuple(_NUMBER.split(reason))
            names.setdefault(form, []).append(name)
            texts.setdefault(form, []).append(reason)
    return [(list(dict.fromkeys(names[form])), _ranges(texts[form])) for form in names]


def _ranges(texts: Sequence[str]) -> str:
    """One text for several that differ in numbers alone."""
    columns = iter(zip(*map(_NUMBER.findall, texts), strict=True))

    def spanned(_: re.Match[str]) -> str:
        values = sorted(set(next(columns)), key=float)
        return values[0] if len(values) == 1 else f"{values[0]} to {values[-1]}"

    return _NUMBER.sub(spanned, texts[0])


def interval_name(drop: Drop) -> str:
    """What the interval of a drop is called."""
    return "95 % confidence sequence" if drop.interval == "sequence" else "95 % interval"


def decided_after(decision: BudgetDecision | None) -> str:
    """`, decided after 1,850 of 5,000 images`; empty where all images were to be used."""
    if decision is None:
        return ""
    images = count(decision.available, "image")
    if decision.outcome == "undecided":
        return f", not decided by all {images}"
    return f", decided after {decision.n:,} of {images}"


def change_of(drop: Drop) -> tuple[str, float, float]:
    """Whether top-1 was `lost` or `gained`, and the interval of how many points."""
    low, high = drop.ci95
    return ("gained", 0.0 - high, 0.0 - low) if drop.points < 0 else ("lost", low, high)


def duration(seconds: float) -> str:
    """`0.4 s`, `41 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{number(seconds, 1)} s"
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60} s"
    return f"{rounded // 3600} h {rounded % 3600 // 60} min"


def round_up(value: int) -> int:
    """Rounded up to two significant digits, the precision of an estimated count."""
    unit: int = 10 ** max(0, len(str(value)) - 2)
    return -(-value // unit) * unit


def mebibytes(size: int) -> float:
    """Bytes to MiB."""
    return size / 2**20
