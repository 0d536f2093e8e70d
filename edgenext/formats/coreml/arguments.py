"""What the operators of Core ML's ML programs are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Value = Any
"""A tensor, a string, or a list of either."""


class Arguments(dict[str, Value]):
    """The inputs of one operator by parameter name: float tensors in float32, no absent ones."""

    def ints(self, name: str) -> list[int]:
        """A vector of integers, such as axes."""
        return [int(i) for i in self[name].tolist()]

    def integer(self, name: str) -> int:
        """One integer."""
        return int(self[name])

    def number(self, name: str) -> float:
        """One float, such as an epsilon."""
        return float(self[name])

    def flag(self, name: str) -> bool:
        """One truth value; False where it is absent."""
        return bool(self.get(name, False))

    def flags(self, name: str, count: int) -> list[bool]:
        """A vector of truth values; all False where it is absent."""
        return [bool(i) for i in self[name].tolist()] if name in self else [False] * count


Op = Callable[[Arguments], Value]
"""One operator: a tensor, or a sequence of as many values as the operator has outputs."""
