"""One file over http: tried again when the connection drops, resumed by Range and If-Range."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import os
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

from edgenext.errors import DownloadError
from edgenext.system.files import write_text
from edgenext.system.progress import Progress

log = logging.getLogger(__name__)

T = TypeVar("T")

TRIES = 5
"""Connections that may fail one after the other with less than a MiB gained."""
GAIN = 1 << 20
CHUNK = 1 << 16
_PASSING = (408, 416, 425, 429, 500, 502, 503, 504)
"""HTTP answers that are worth another try; 416 after starting over."""


class _DroppedError(Exception):
    """A connection that failed or ended early: try again."""


def note_path(part: Path) -> Path:
    """Where it is kept which version of which file a `.part` is of."""
    return part.with_name(f"{part.name}.json")


class Download:
    """A file on its way into a `.part`, one connection after the other.

    Errors of the disk leave as `OSError`, those of the network as `DownloadError`.
    """

    def __init__(
        self,
        url: str,
        part: Path,
        file: IO[bytes],
        progress: Progress,
        timeout_s: float,
    ) -> None:
        self.url, self.part, self.file = url, part, file
        self.progress, self.timeout_s = progress, timeout_s
        self.version, self.total = self._read_note()
        # What came without a validator cannot be told from another version of the file.
        self.done = file.seek(0, os.SEEK_END) if self.version else 0

    def run(self, backoff_s: float) -> None:
        """Connect until the file is whole, with longer and longer pauses between failures.

        Raises:
            DownloadError: too many failures without progress, or the server refuses.
        """
        failures, mark = 0, self.done
        while not (self.done and self.done == self.total):
            try:
                self._connect()
                break
            except _DroppedError as e:
                if self.done >= mark + GAIN:
                    failures, mark = 0, self.done
                failures += 1
                log.info("%s: %s (failure %d)", self.url, e, failures)
                if failures == TRIES:
                    raise DownloadError(
                        f"cannot fetch {self.url} whole: {e} ({failures} tries)",
                        "Run the same command again to go on where it stopped",
                    ) from e
                time.sleep(backoff_s * 2 ** (failures - 1))
        self.file.flush()

    def _connect(self) -> None:
        """Get the rest of the file, or all of it where the server has another one or no ranges."""
        headers = {"User-Agent": "edgenext", "Accept-Encoding": "identity"}
        if self.done and self.version:
            headers |= {"Range": f"bytes={self.done}-", "If-Range": self.version}
        with contextlib.ExitStack() as stack:
            response = self._network(lambda: stack.enter_context(self._open(headers)))
            self._place(response)
            while chunk := self._network(lambda: response.read1(CHUNK)):
                self.file.write(chunk)
                self.done += len(chunk)
                self._tell()
        if self.total is not None and self.done < self.total:
            raise _DroppedError(f"the connection ended after {self.done} of {self.total} bytes")

    def _open(self, headers: dict[str, str]) -> Any:
        request = urllib.request.Request(self.url, headers=headers)  # noqa: S310 - see _opener
        response = _opener().open(request, timeout=self.timeout_s)
        if self.url.startswith("https:") and not response.url.startswith("https:"):
            response.close()
            raise DownloadError(f"{self.url} leads to {response.url}, which is not encrypted")
        return response

    def _network(self, step: Callable[[], T]) -> T:
        """Run one step of the connection and name its failure."""
        try:
            return step()
        except urllib.error.HTTPError as e:
            e.close()
            if e.code not in _PASSING:
                raise DownloadError(
                    f"cannot fetch {self.url}: HTTP {e.code} {e.reason}",
                    "Check the address, or set EDGENEXT_WEIGHTS_URL to a mirror",
                ) from e
            failure: Exception = e
        except urllib.error.URLError as e:
            if isinstance(e.reason, ssl.SSLCertVerificationError):
                raise DownloadError(f"cannot trust {self.url}: {e.reason.verify_message}") from e
            failure = e
        except (http.client.InvalidURL, ValueError) as e:
            raise DownloadError(f"cannot fetch {self.url}: {e}", "Check the address") from e
        except (http.client.HTTPException, OSError) as e:
            failure = e
        if isinstance(failure, urllib.error.HTTPError) and failure.code == 416:
            self._restart(None, None)  # what was here is longer than the server's file
        raise _DroppedError(str(failure) or type(failure).__name__) from failure

    def _place(self, response: Any) -> None:
        """Go to where the answer's bytes belong."""
        version = _version(response.headers)
        if response.status == 206:
            start, total = _content_range(response.headers.get("Content-Range", ""))
            if start != self.done or version not in (None, self.version):
                self._restart(None, None)
                raise _DroppedError("the server resumed another file or at another place")
            self.total = total
            self.file.seek(self.done)
            self.file.truncate()
        else:
            length = response.headers.get("Content-Length", "")
            self._restart(version, int(length) if length.isdigit() else None)
        self._tell()

    def _restart(self, version: str | None, total: int | None) -> None:
        """Forget what is there; from now on the `.part` is of this version."""
        self.done, self.version, self.total = 0, version, total
        self.file.seek(0)
        self.file.truncate()
        note = {"url": self.url, "version": version, "total": total}
        write_text(note_path(self.part), json.dumps(note) + "\n")

    def _read_note(self) -> tuple[str | None, int | None]:
        """Version and size of the file the `.part` is of, if of this address."""
        try:
            note = json.loads(note_path(self.part).read_bytes())
            if note["url"] == self.url and note["version"]:
                return str(note["version"]), note["total"]
        except (OSError, ValueError, KeyError, TypeError):
            log.debug("%s cannot be resumed", self.part)
        return None, None

    def _tell(self) -> None:
        self.progress(f"fetching {self.part.stem}", self.done, self.total or 0)


def _opener() -> urllib.request.OpenerDirector:
    """An opener for http and https alone: a redirect cannot lead to files or other schemes."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _version(headers: Any) -> str | None:
    """The strong validator of a file: only such a one may stand in If-Range (RFC 9110, 13.1.5)."""
    etag = headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return str(etag)
    modified = headers.get("Last-Modified")
    return str(modified) if modified else None


def _content_range(value: str) -> tuple[int, int | None]:
    """Start and total of `bytes start-end/total`; a start of -1 where it is malformed."""
    try:
        place, total = value.removeprefix("bytes ").split("/")
        return int(place.split("-")[0]), None if total == "*" else int(total)
    except ValueError:
        return -1, None
