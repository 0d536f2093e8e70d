"""Names of files in folders and archives, and the error for a file that cannot be read."""

from __future__ import annotations

import os
from collections.abc import Iterable


class UnreadableError(Exception):
    """An image cannot be read or decoded; the message says why."""


def folders_in(members: Iterable[str], path: str) -> list[str]:
    """Names of the folders directly in `path` of an archive with these members, sorted."""
    prefix = f"{path}/" if path else ""
    inside = (m.removeprefix(prefix) for m in members if m.startswith(prefix))
    return sorted({m.split("/", 1)[0] for m in inside if "/" in m})


def is_visible(name: str) -> bool:
    """Whether a file or folder of such a name counts: not `..`, hidden files, the first "/"."""
    return bool(name) and not name.startswith(".") and name != "__MACOSX"


def ending(path: str) -> str:
    """The ending of a file's name in lower case, such as `.jpg`; empty if it has none."""
    return os.path.splitext(path)[1].lower()  # noqa: PTH122 - 10x faster than Path
