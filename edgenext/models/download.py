"""Download of one file by HTTP, with retries, resumed by Range and If-Range."""

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

from edgenext.errors import DownloadError, InputError
from edgenext.system.files import write_text
from edgenext.system.parsing import read_json
from edgenext.system.progress import Progress

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_FAILURES = 5
"""Consecutive failed connections, with less than `MIN_GAIN` bytes received in all."""
MIN_GAIN = 1 << 20
CHUNK = 1 << 16
_RETRIED = (408, 416, 425, 429, 500, 502, 503, 504)
"""HTTP status codes that are retried; 416 from the start of the file."""


class _DroppedError(Exception):
    """A connection failed or ended early; it is retried."""


def resume_path(part: Path) -> Path:
    """The file that records the address, version and complete size of a `.part` file."""
    return part.with_name(f"{part.name}.json")


class Download:
    """A download into a `.part` file, over one or several connections.

    Disk errors are raised as `OSError`, network errors as `DownloadError`.
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
        self.version, self.total = self._read_resume()
        # Without a validator the bytes may belong to another version of the file.
        self.done = file.seek(0, os.SEEK_END) if self.version else 0

    def run(self, backoff_s: float) -> None:
        """Connect until the file is complete, waiting longer after each failure.

        Raises:
            DownloadError: too many failures without progress, or the server refuses.
        """
        failures, start = 0, self.done
        while not (self.done and self.done == self.total):
            try:
                self._connect()
                break
            except _DroppedError as e:
                if self.done >= start + MIN_GAIN:
                    failures, start = 0, self.done
                failures += 1
                log.info("%s: %s (failure %d)", self.url, e, failures)
                if failures == MAX_FAILURES:
                    raise DownloadError(
                        f"cannot download {self.url}: {e} ({failures} attempts)",
                        "Run the same command again to resume the download",
                    ) from e
                time.sleep(backoff_s * 2 ** (failures - 1))
        self.file.flush()

    def _connect(self) -> None:
        """Get the rest of the file, or all of it if it has changed or the server has no ranges."""
        headers = {"User-Agent": "edgenext", "Accept-Encoding": "identity"}
        if self.done and self.version:
            headers |= {"Range": f"bytes={self.done}-", "If-Range": self.version}
        with contextlib.ExitStack() as stack:
            response = self._network(lambda: stack.enter_context(self._open(headers)))
            self._seek(response)
            while chunk := self._network(lambda: response.read1(CHUNK)):
                self.file.write(chunk)
                self.done += len(chunk)
                self._report()
        if self.total is not None and self.done < self.total:
            raise _DroppedError(f"the connection ended after {self.done} of {self.total} bytes")

    def _open(self, headers: dict[str, str]) -> Any:
        request = urllib.request.Request(self.url, headers=headers)  # noqa: S310 - see _opener
        response = _opener().open(request, timeout=self.timeout_s)
        if self.url.startswith("https:") and not response.url.startswith("https:"):
            response.close()
            raise DownloadError(f"{self.url} redirects to {response.url}, which is not encrypted")
        return response

    def _network(self, step: Callable[[], T]) -> T:
        """Run one step of the connection; its failure is a `DownloadError` or is retried."""
        try:
            return step()
        except urllib.error.HTTPError as e:
            e.close()
            if e.code not in _RETRIED:
                raise DownloadError(
                    f"cannot download {self.url}: HTTP {e.code} {e.reason}",
                    "Check the address, or set EDGENEXT_WEIGHTS_URL to a mirror",
                ) from e
            failure: Exception = e
        except urllib.error.URLError as e:
            if isinstance(e.reason, ssl.SSLCertVerificationError):
                raise DownloadError(
                    f"cannot verify the certificate of {self.url}: {e.reason.verify_message}"
                ) from e
            failure = e
        except (http.client.InvalidURL, ValueError) as e:
            raise DownloadError(f"cannot download {self.url}: {e}", "Check the address") from e
        except (http.client.HTTPException, OSError) as e:
            failure = e
        if isinstance(failure, urllib.error.HTTPError) and failure.code == 416:
            self._restart(None, None)  # the `.part` file is longer than the server's file
        raise _DroppedError(str(failure) or type(failure).__name__) from failure

    def _seek(self, response: Any) -> None:
        """Move to the position in the file at which the response starts."""
        version = _version(response.headers)
        if response.status == 206:
            start, total = _content_range(response.headers.get("Content-Range", ""))
            if start != self.done or version not in (None, self.version):
                self._restart(None, None)
                raise _DroppedError("the server resumed another file or at another offset")
            self.total = total
            self.file.seek(self.done)
            self.file.truncate()
        else:
            length = response.headers.get("Content-Length", "")
            self._restart(version, int(length) if length.isdigit() else None)
        self._report()

    def _restart(self, version: str | None, total: int | None) -> None:
        """Empty the `.part` file; from now on it is of this version."""
        self.done, self.version, self.total = 0, version, total
        self.file.seek(0)
        self.file.truncate()
        resume = {"url": self.url, "version": version, "total": total}
        write_text(resume_path(self.part), json.dumps(resume) + "\n")

    def _read_resume(self) -> tuple[str | None, int | None]:
        """The version and complete size of the `.part` file, if it is from this address."""
        try:
            resume = read_json(resume_path(self.part))
            version, total = resume["version"], resume["total"]
            known = isinstance(version, str) and isinstance(total, int | None)
            if resume["url"] == self.url and version and known:
                return version, total
        except (InputError, KeyError, TypeError):
            log.debug("%s cannot be resumed", self.part)
        return None, None

    def _report(self) -> None:
        self.progress(f"fetching {self.part.stem}", self.done, self.total or 0)


def _opener() -> urllib.request.OpenerDirector:
    """An opener for http and https only, so that no redirect leads to files or other schemes."""
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
    """The strong validator of a file; If-Range must not have a weak one (RFC 9110, 13.1.5)."""
    etag = headers.get("ETag")
    if etag and not etag.startswith("W/"):
        return str(etag)
    modified = headers.get("Last-Modified")
    return str(modified) if modified else None


def _content_range(value: str) -> tuple[int, int | None]:
    """Start and total of `bytes start-end/total`; a start of -1 if it is malformed."""
    try:
        span, total = value.removeprefix("bytes ").split("/")
        return int(span.split("-")[0]), None if total == "*" else int(total)
    except ValueError:
        return -1, None
