"""What the sources of images share: names of files, and files that cannot be read."""

from __future__ import annotations

import os


class UnreadableError(Exception):
    """An image cannot be read or decoded; the message says why."""


def is_visible(name: str) -> bool:
    """Whether a file or folder of such a name counts: not `..`, hidden files, the first "/"."""
    return bool(name) and not name.startswith(".") and name != "__MACOSX"


def ending(path: str) -> str:
    """The ending of a file's name in lower case, such as `.jpg`; empty if it has none."""
    return os.path.splitext(path)[1].lower()  # noqa: PTH122 - 10x faster than Path
