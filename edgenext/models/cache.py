"""The cache of published checkpoints, and the sha256 that each of them must have."""

from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path

from edgenext.errors import InputError
from edgenext.models import zoo
from edgenext.system.files import cache_folder, write_text
from edgenext.system.parsing import read_json

log = logging.getLogger(__name__)


def weights_folder(cache_dir: Path | None = None) -> Path:
    """The folder of downloaded checkpoints."""
    return cache_folder("weights", cache_dir)


def cached_path(name: str, cache_dir: Path | None = None) -> Path:
    """The path of a published checkpoint in the cache, downloaded or not.

    Raises:
        UsageError: no such model; the nearest names are suggested.
    """
    return weights_folder(cache_dir) / f"{zoo.card(name).name}.pth"


def record_path(name: str, cache_dir: Path | None = None) -> Path:
    """The file that records the sha256 of the first download of a checkpoint."""
    return weights_folder(cache_dir) / f"{name}.sha256.json"


def known_sha256(name: str, cache_dir: Path | None = None) -> str | None:
    """The sha256 a published checkpoint must have: public, else recorded, else None.

    Raises:
        UsageError: no such model; the nearest names are suggested.
        InputError: there is a record, but it cannot be read.
    """
    public: str | None = zoo.checkpoint_table()[zoo.card(name).name].get("sha256")
    if public:
        return public
    path = record_path(name, cache_dir)
    try:
        return str(read_json(path)["sha256"]) if path.is_file() else None
    except (InputError, KeyError, TypeError) as e:
        raise InputError(f"cannot read the record {path}", "Delete it to start over") from e


def record_sha256(
    name: str, sha256: str, url: str, size: int, cache_dir: Path | None = None
) -> None:
    """Record the sha256 of the first download of a checkpoint.

    Raises:
        OutputError: the cache cannot be written.
    """
    content = {"name": name, "sha256": sha256, "size_bytes": size, "url": url}
    write_text(record_path(name, cache_dir), json.dumps(content, indent=2) + "\n")
    log.info("%s: recorded sha256 %s", name, sha256)


def find_published(sha256: str, cache_dir: Path | None = None) -> str | None:
    """The name of the published checkpoint with this sha256; None if none is known to have it."""
    for name in zoo.checkpoint_table():
        with contextlib.suppress(InputError):  # another checkpoint's record does not matter here
            if known_sha256(name, cache_dir) == sha256:
                return name
    return None
