"""What a condition can be about: `metrics.toml`, and a measured value with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from edgenext.report.text import NOTHING, number, span
from edgenext.system.packaged import packaged_rows


@dataclass(frozen=True)
class Metric:
    """A row of `metrics.toml`; the fields are described there."""

    about: str
    commands: list[str]
    unit: str = ""
    digits: int = 2
    interval: str = ""
    is_word: bool = False


@dataclass(frozen=True)
class Measure:
    """A measured value with its 95 % interval, or the reason why it says nothing.

    The interval of an exact value is the value. `holds` is that of a word: None is undecided.
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""
    holds: bool | None = None

    @staticmethod
    def exact(value: float) -> Measure:
        """A value without an interval."""
        return Measure(value, value, value)

    def shown(self, metric: Metric) -> str:
        """The value with its unit and interval, or why there is none."""
        if metric.is_word:
            return self.reason
        if self.value is None:
            return self.reason or NOTHING
        text = f"{number(self.value, metric.digits)} {metric.unit}"
        if self.low is not None and self.high is not None and self.low != self.high:
            text += f" ({span(self.low, self.high, metric.digits)})"
        return f"{text}, {self.reason}" if self.reason else text


@cache
def metrics() -> dict[str, Metric]:
    """All metrics by name."""
    return packaged_rows(__package__, "metrics.toml", Metric)
