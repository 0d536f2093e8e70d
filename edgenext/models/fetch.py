"""Published checkpoints, downloaded into the cache once and verified."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from edgenext.errors import DownloadError, OutputError, UsageError
from edgenext.models import zoo
from edgenext.models.cache import cached_path, known_sha256, record_path, record_sha256
from edgenext.models.download import Download, resume_path
from edgenext.system.files import move_to, output_path, sha256_file
from edgenext.system.locks import hold_file
from edgenext.system.progress import Progress, quiet

log = logging.getLogger(__name__)


def download_url(name: str) -> str:
    """The address of a published checkpoint: that of its release, or of a mirror.

    $EDGENEXT_WEIGHTS_URL is the template of a mirror's addresses, with `{tag}` and `{name}`.

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
            f"EDGENEXT_WEIGHTS_URL is not a template with {{tag}} and {{name}}: {template}"
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
    """A published checkpoint, from the cache or downloaded into it.

    An interrupted download is kept in a `.part` file and resumed. The file gets its final name
    only if it has the known sha256; if none is known, that of the first download is recorded and
    required from then on.

    Args:
        name: a published checkpoint.
        cache_dir: the cache's folder instead of the default one.
        url: http or https address instead of the release's.
        progress: receives the number of bytes as they arrive.
        timeout_s: seconds without a byte after which a connection counts as dropped.
        backoff_s: seconds before the second attempt; doubled before each further one.

    Returns:
        The path of the checkpoint in the cache.

    Raises:
        UsageError: no such model, or an address that is not http or https.
        InputError: the record of an earlier download cannot be read.
        DownloadError: it cannot be downloaded, or has another sha256 than it must have.
        OutputError: the cache cannot be written.
    """
    path = cached_path(name, cache_dir)
    known = known_sha256(name, cache_dir)
    if path.is_file():
        sha256 = sha256_file(path)
        if known in (None, sha256):
            if known is None:
                record_sha256(name, sha256, str(path), path.stat().st_size, cache_dir)
            return path
        log.warning("%s is damaged: downloading it again", path)
    url = url or download_url(name)
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"{url} is not an http or https address")
    output_path(path)  # refuse what is no file before it is downloaded
    part = path.with_name(f"{path.name}.part")
    with _disk_errors(part), _locked(part) as file:
        Download(url, part, file, progress, timeout_s).run(backoff_s)
        file.flush()
        sha256 = sha256_file(part)
        if known is None:
            record_sha256(name, sha256, url, part.stat().st_size, cache_dir)
        elif sha256 != known:
            part.unlink()
            resume_path(part).unlink(missing_ok=True)
            raise _wrong_file(name, url, sha256, known, cache_dir)
        move_to(part, output_path(path), linked=path.is_symlink())
        resume_path(part).unlink(missing_ok=True)
    return path


def _wrong_file(
    name: str, url: str, sha256: str, known: str, cache_dir: Path | None
) -> DownloadError:
    if zoo.checkpoint_table()[name].get("sha256"):
        remedy = "Try again; if the error persists, the server has a different file"
    else:
        remedy = (
            "Try again; if the publisher replaced the file and you trust it, "
            f"delete {record_path(name, cache_dir)}"
        )
    return DownloadError(
        f"the file from {url} is not {name}: sha256 {sha256[:16]}…, not {known[:16]}…", remedy
    )


@contextlib.contextmanager
def _disk_errors(part: Path) -> Iterator[None]:
    """Raise an `OSError` of the disk as `OutputError`; those of the network do not get here."""
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as e:
        raise OutputError(
            f"cannot write {part}: {e.strerror or e}",
            "Free some space, or set EDGENEXT_CACHE to another folder",
        ) from e


@contextlib.contextmanager
def _locked(part: Path) -> Iterator[IO[bytes]]:
    """The `.part` file, open for writing and held against other processes."""
    lock, busy = part.with_name(f".{part.name}.lock"), f"{part.stem} is being downloaded"
    with hold_file(lock, busy, DownloadError):
        with output_path(part).open("ab"):  # create it, but keep its content
            pass
        try:
            with part.open("rb+") as file:
                yield file
        finally:
            if part.is_file() and part.stat().st_size == 0:
                part.unlink()
                resume_path(part).unlink(missing_ok=True)
