"""Numbers and names as a reader should see them."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable

NOTHING = "–"
"""What stands where there is no number."""


def clean(text: str) -> str:
    """Text on one line: white space collapsed, control and direction characters replaced.

    Names come from files that others made; a character that reverses the line or ends it could
    make a report say what it does not.
    """
    kept = ("\ufffd" if unicodedata.category(c) in ("Cc", "Cf", "Cs") else c for c in _words(text))
    return "".join(kept)


def prose(text: str, plain: Callable[[str], str], code: Callable[[str], str]) -> str:
    """A sentence of ours, in which backticks set off what is typed, each part made safe."""
    made = []
    for i, part in enumerate(text.split("`")):
        start, end = part.startswith(" "), part.endswith(" ") and part != " "
        made.append(code(part) if i % 2 else f"{' ' * start}{plain(part)}{' ' * end}")
    return "".join(made)


def _words(text: str) -> str:
    return " ".join(text.split())


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


def times(value: float, low: float, high: float) -> tuple[str, str]:
    """A factor and its interval, `1.62x` and `1.60–1.64`; a third digit where two would say 1."""
    every = (value, low, high)
    digits = 3 if any(round(v, 2) == 1 and v != 1 for v in every) else 2
    return f"{number(value, digits)}x", f"{number(low, digits)}–{number(high, digits)}"


def p_value(value: float) -> str:
    """Two digits, three below 0.1."""
    if value < 0.001:
        return "< 0.001"
    return number(value, 3 if value < 0.1 else 2)


def decibels(value: float) -> str:
    """One digit; 200 dB is where the measurement of equal logits is cut off."""
    return "≥ 200" if value >= 200 else number(value, 1)


def points(value: float) -> str:
    """A budget or a drop with its unit: `1 point`, `0.5 points`."""
    shown = number(value, 2).rstrip("0").rstrip(".") if value != round(value) else number(value)
    return f"{shown} point" if shown == "1" else f"{shown} points"


def count(value: int, one: str, many: str = "") -> str:
    """`1 image`, `5,000 images`."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def duration(seconds: float) -> str:
    """`0.4 s`, `41 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{number(seconds, 1)} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def round_up(value: int) -> int:
    """Up to two significant digits: what an estimate of a count is worth."""
    unit: int = 10 ** max(0, len(str(value)) - 2)
    return -(-value // unit) * unit


def mebibytes(size: int) -> float:
    """Bytes to MiB."""
    return size / 2**20
