"""The arguments of the operators of Core ML's ML programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Value = Any
"""A tensor, a string, or a list of them."""


class Arguments(dict[str, Value]):
    """The inputs of an operator by parameter: floats are float32, absent inputs are left out."""

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
        """One truth value; False if it is absent."""
        return bool(self.get(name, False))

    def flags(self, name: str, count: int) -> list[bool]:
        """A vector of truth values; all False if it is absent."""
        return [bool(i) for i in self[name].tolist()] if name in self else [False] * count


Op = Callable[[Arguments], Value]
"""One operator. It returns a tensor, or a sequence with a value for each of its outputs."""
