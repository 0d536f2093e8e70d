"""Texts as literals of the languages of samples; whatever is not plain is escaped by its number."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

_OTHER = re.compile(r"[^A-Za-z0-9 ._,:;()/+=-]")


def javascript(text: str) -> str:
    """A literal of JavaScript, also inside a page of HTML, and of Kotlin."""
    return _quoted(text, lambda char: "".join(f"\\u{unit:04x}" for unit in _units(char)))


kotlin = javascript


def cpp(text: str) -> str:
    """A literal of C++ in UTF-8."""
    return _quoted(text, lambda char: "".join(f"\\{byte:03o}" for byte in _bytes(char)))


def swift(text: str) -> str:
    """A literal of Swift."""
    return _quoted(text, lambda char: f"\\u{{{ord(char):x}}}")


def yaml(value: object) -> str:
    """A value of YAML: JSON is, and no character of it ends a document."""
    return json.dumps(value)


def _quoted(text: str, escaped: Callable[[str], str]) -> str:
    clean = text.encode("utf-8", "replace").decode()
    return '"' + _OTHER.sub(lambda match: escaped(match[0]), clean) + '"'


def _units(char: str) -> list[int]:
    """The UTF-16 units of a character."""
    data = char.encode("utf-16-be")
    return [int.from_bytes(data[i : i + 2]) for i in range(0, len(data), 2)]


def _bytes(char: str) -> bytes:
    return char.encode()
