"""The reference of a run's TOML, from its JSON Schema."""

from __future__ import annotations

from pagetext import joined


def page() -> str:
    """Every key."""
    return joined("# A run's TOML")
