"""The glossary: the terms that the report and the docs use, from the report's own file."""

from __future__ import annotations

from pagetext import joined


def page() -> str:
    """Every term with its meaning."""
    return joined("# Glossary")
