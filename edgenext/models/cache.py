"""The cache of published checkpoints, and what is known of their bytes."""

from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path

from edgenext.errors import InputError
from edgenext.models import zoo
from edgenext.system.files import cache_folder, write_text

log = logging.getLogger(__name__)


def weights_folder(cache_dir: Path | None = None) -> Path:
    """Where fetched checkpoints are."""
    return cache_folder("weights", cache_dir)


def cached_path(name: str, cache_dir: Path | None = None) -> Path:
    """Where the published checkpoint called `name` is or would be.

    Raises:
        UsageError: no such model; the nearest names are suggested.
    """
    return weights_folder(cache_dir) / f"{zoo.card(name).name}.pth"


def record_path(name: str, cache_dir: Path | None = None) -> Path:
    """Where the sha256 of the first download of a checkpoint is kept."""
    return weights_folder(cache_dir) / f"{name}.sha256.json"


def sha256_known(name: str, cache_dir: Path | None = None) -> str | None:
    """The sha256 a published checkpoint must have: the public one, else the one recorded.

    Raises:
        InputError: a record that cannot be read, which must not pass for no record.
    """
    public: str | None = zoo.checkpoint_table()[zoo.card(name).name].get("sha256")
    if public:
        return public
    path = record_path(name, cache_dir)
    try:
        return str(json.loads(path.read_bytes())["sha256"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise InputError(f"the record {path} cannot be read", "Delete it to start over") from e


def record(name: str, sha256: str, url: str, size: int, cache_dir: Path | None = None) -> None:
    """Keep the sha256 of a first download.

    Raises:
        OutputError: the cache cannot be written.
    """
    content = {"name": name, "sha256": sha256, "size_bytes": size, "url": url}
    write_text(record_path(name, cache_dir), json.dumps(content, indent=2) + "\n")
    log.info("%s: recorded sha256 %s", name, sha256)


def published_as(sha256: str, cache_dir: Path | None = None) -> str | None:
    """The published checkpoint whose file has this sha256, as far as that is known."""
    for name in zoo.checkpoint_table():
        with contextlib.suppress(InputError):  # another checkpoint's record is no concern here
            if sha256_known(name, cache_dir) == sha256:
                return name
    return None
