"""Published checkpoints, fetched into the cache: whole, verified, and only once."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from edgenext.errors import DownloadError, OutputError, UsageError
from edgenext.models import zoo
from edgenext.models.cache import cached_path, record, record_path, sha256_known
from edgenext.models.download import Download, note_path
from edgenext.system.files import sha256_file
from edgenext.system.progress import Progress, quiet

__all__ = ["cached_path", "download_url", "fetch", "sha256_known"]

log = logging.getLogger(__name__)


def download_url(name: str) -> str:
    """Where a published checkpoint is: its release, or $EDGENEXT_WEIGHTS_URL.

    The variable is a template with `{tag}` and `{name}`, for mirrors.

    Raises:
        UsageError: no such model, or a template with other fields.
    """
    row = zoo.checkpoint_table()[zoo.card(name).name]
    template = os.environ.get("EDGENEXT_WEIGHTS_URL")
    if not template:
        return str(row["url"])
    try:
        return template.format(tag=row["tag"], name=name)
    except (KeyError, IndexError, ValueError, AttributeError) as e:
        raise UsageError(
            f"EDGENEXT_WEIGHTS_URL is not a template of {{tag}} and {{name}}: {template}"
        ) from e


def fetch(
    name: str,
    *,
    cache_dir: Path | None = None,
    url: str | None = None,
    progress: Progress = quiet,
    timeout_s: float = 30.0,
    backoff_s: float = 0.5,
) -> Path:
    """The published checkpoint called `name`, from the cache or downloaded into it.

    What there is of an interrupted download is kept in a `.part` file and resumed. The file is
    only given its name when its sha256 is the known one; where none is known, that of the first
    download is recorded and holds from then on.

    Args:
        name: a published checkpoint.
        cache_dir: the cache's folder instead of the default one.
        url: http or https address instead of the release's.
        progress: told of every piece that arrives.
        timeout_s: seconds without a byte after which a connection counts as dropped.
        backoff_s: seconds before the second try; doubled before each further one.

    Raises:
        UsageError: no such model, or an address that is not http or https.
        DownloadError: it cannot be fetched whole, or is not the file it should be.
        OutputError: the cache cannot be written.
    """
    path = cached_path(name, cache_dir)
    known = sha256_known(name, cache_dir)
    if path.is_file():
        sha256 = sha256_file(path)
        if known in (None, sha256):
            if known is None:
                record(name, sha256, str(path), path.stat().st_size, cache_dir)
            return path
        log.warning("%s is damaged: fetching it again", path)
    url = url or download_url(name)
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"{url} is not an http or https address")
    part = path.with_name(f"{path.name}.part")
    with _disk(part), _locked(part) as file:
        Download(url, part, file, progress, timeout_s).run(backoff_s)
        os.fsync(file.fileno())
        sha256 = sha256_file(part)
        if known is None:
            record(name, sha256, url, part.stat().st_size, cache_dir)
        elif sha256 != known:
            part.unlink()
            note_path(part).unlink(missing_ok=True)
            raise _another_file(name, url, sha256, known, cache_dir)
        part.replace(path)
        note_path(part).unlink(missing_ok=True)
    return path


def _another_file(
    name: str, url: str, sha256: str, known: str, cache_dir: Path | None
) -> DownloadError:
    if zoo.checkpoint_table()[name].get("sha256"):
        remedy = "Try again; if it stays so, the server has another file"
    else:
        remedy = (
            "Try again; if the publisher replaced the file and you trust it, "
            f"delete {record_path(name, cache_dir)}"
        )
    return DownloadError(
        f"what came from {url} is not {name}: sha256 {sha256[:16]}…, not {known[:16]}…", remedy
    )


@contextlib.contextmanager
def _disk(part: Path) -> Iterator[None]:
    """Turn errors of the disk into `OutputError`; those of the network never get here."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as e:
        raise OutputError(
            f"cannot write {part}: {e.strerror or e}",
            "Free some space, or choose another cache with EDGENEXT_CACHE",
        ) from e


@contextlib.contextmanager
def _locked(part: Path) -> Iterator[IO[bytes]]:
    """The `.part` file, open for writing, and ours alone where the system can say so."""
    with part.open("ab"):  # make it, keep what is in it
        pass
    with part.open("rb+") as file:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as e:
                raise DownloadError(
                    f"another process is downloading {part.stem}", "Wait until it is done"
                ) from e
        try:
            yield file
        finally:
            if part.is_file() and part.stat().st_size == 0:
                part.unlink()
                note_path(part).unlink(missing_ok=True)
