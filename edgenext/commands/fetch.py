"""Download a published checkpoint into the cache."""

from __future__ import annotations

from pathlib import Path

from edgenext.commands.context import Context
from edgenext.models.fetch import fetch as download


def fetch(name: str, *, context: Context | None = None) -> Path:
    """The published checkpoint of a name, from the cache or downloaded into it.

    Args:
        name: one of those that `models` lists.
        context: whose progress is told.

    Raises:
        UsageError: no such checkpoint.
        DownloadError: it cannot be downloaded whole.

    >>> fetch("edgenext_smal")
    Traceback (most recent call last):
    edgenext.errors.UsageError: unknown model 'edgenext_smal'. Did you mean edgenext_small ...
    """
    return download(name, progress=(context or Context()).progress)
