"""How figures are written in tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from measured import Timing


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, text_columns: int = 1) -> str:
    """A Markdown table; its first columns are text, the others are aligned to the right."""
    rule = "|".join("---" if i < text_columns else "---:" for i in range(len(head)))
    lines = [" | ".join(head), *(" | ".join(row) for row in rows)]
    first, *others = (f"| {line} |" for line in lines)
    return "\n".join([first, f"|{rule}|", *others])


def number(value: float, digits: int = 2) -> str:
    """A number with a minus sign of its own, and no minus zero."""
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def between(low: float, high: float, digits: int = 2) -> str:
    """The lowest and the highest of several figures; one where they are the same."""
    first, last = number(low, digits), number(high, digits)
    return first if first == last else f"{first} to {last}"


def spread(values: Iterable[float], digits: int = 2) -> str:
    """The range of several figures."""
    listed = list(values)
    return between(min(listed), max(listed), digits)


def megabytes(size_bytes: int) -> str:
    """A size in MB (10⁶ bytes)."""
    return f"{size_bytes / 1e6:.2f}"


def drop(row: dict[str, Any]) -> str:
    """A paired drop in points with its interval."""
    low, high = row["drop"]["ci95"]
    return f"{number(row['drop']['points'])} ({number(low)} to {number(high)})"


def speed(timing: Timing | None) -> str:
    """A speed with its interval; struck out if it is not valid."""
    if timing is None:
        return ""
    if timing.ci95 is None:
        return "1"
    low, high = timing.ci95
    return _struck(f"{timing.speed:.2f}x ({low:.2f}–{high:.2f})", timing)


def milliseconds(timing: Timing | None) -> str:
    """A median latency; struck out if it is not valid."""
    return _struck(f"{timing.p50_ms:.2f}", timing) if timing else ""


def _struck(text: str, timing: Timing) -> str:
    return text if timing.valid else f"~~{text}~~"
