"""Doctests of docstrings as sections of examples, which is what mkdocstrings renders as code."""

from __future__ import annotations

import textwrap
from typing import Any

import griffe


class Doctests(griffe.Extension):  # type: ignore[misc]
    """Turns each paragraph that begins with `>>>` into a section `Examples`."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Change the docstring of an object that was read."""
        if obj.docstring and ">>> " in obj.docstring.value:
            paragraphs = obj.docstring.value.split("\n\n")
            obj.docstring.value = "\n\n".join(map(_as_section, paragraphs))


def _as_section(paragraph: str) -> str:
    if not paragraph.startswith(">>> "):
        return paragraph
    return "Examples:\n" + textwrap.indent(paragraph, "    ")
