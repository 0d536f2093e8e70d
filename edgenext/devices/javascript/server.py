"""The server of the runner's page: files out, results in, all below one secret path."""

from __future__ import annotations

import contextlib
import errno
import json
import re
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from edgenext.devices.javascript.inbox import MAX_POST, Inbox, RefusedPostError
from edgenext.errors import DeviceError

RUNNER = Path(__file__).with_name("runner")
"""The page and its modules."""
PAGE = "runner/page.html"
TYPES = {
    ".css": "text/css",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
}
"""Content types by ending; a browser runs no module and compiles no WebAssembly of another."""
ISOLATION = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Without these a page has one thread, and coarse timers."""
SAFETY = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self' blob: data: 'wasm-unsafe-eval'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
PART = re.compile(r"bytes=(\d{1,15})-(\d{1,15})")
SOCKET_S = 30.0
"""How long a client may take to send or receive something."""


@dataclass(frozen=True)
class Served:
    """What is served below the secret path.

    `files` are paths by name, `folders` paths of folders by the first part of a name, `values`
    objects that are sent as JSON.
    """

    files: Mapping[str, Path] = field(default_factory=dict)
    folders: Mapping[str, Path] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)

    def path(self, name: str) -> Path | None:
        """The file of a name; None if there is none, or it is outside of its folder."""
        if name in self.files:
            return self.files[name]
        first, _, rest = name.partition("/")
        if first not in self.folders or not rest:
            return None
        root = self.folders[first].resolve()
        path = (root / rest).resolve()
        return path if path.is_relative_to(root) and path.is_file() else None


class RunnerServer:
    """Serves one job until it is closed; a context manager.

    Args:
        served: the files of the job and of its engines.
        inbox: takes the results; None where there are none.
        host: the address to serve at.
        port: the port; 0 for any that is free.
        headers: of every answer; those of cross-origin isolation unless given.

    Raises:
        DeviceError: the port is taken, or is not allowed.
    """

    def __init__(
        self,
        served: Served,
        inbox: Inbox | None,
        host: str = "127.0.0.1",
        port: int = 0,
        headers: Mapping[str, str] = ISOLATION,
    ) -> None:
        self.token = secrets.token_urlsafe(16)
        handler = type("Handler", (_Handler,), {})
        try:
            self._server = _Server((host, port), handler)
        except OSError as e:
            why = "another program uses it" if e.errno == errno.EADDRINUSE else e.strerror or str(e)
            raise DeviceError(
                f"cannot serve at {host}:{port}: {why}", "Choose another --port, or none"
            ) from e
        self._server.served, self._server.inbox = served, inbox
        self._server.token, self._server.headers = self.token, {**SAFETY, **headers}
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    def url(self, host: str = "127.0.0.1") -> str:
        """The address of the page."""
        return f"http://{host}:{self.port}/{self.token}/"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    served: Served
    inbox: Inbox | None
    token: str
    headers: Mapping[str, str]
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that breaks off is no error of ours."""


class _Handler(BaseHTTPRequestHandler):
    """One request; everything outside the secret path is not found."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "edgenext", ""
    timeout = SOCKET_S
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Nothing is logged."""

    def do_GET(self) -> None:
        """A file, or a value as JSON."""
        name = self._name()
        if name is None:
            self._send(404, b"not found", "text/plain")
            return
        name = name or PAGE
        if name in self.server.served.values:
            text = json.dumps(self.server.served.values[name])
            self._send(200, text.encode(), TYPES[".json"])
            return
        path = self.server.served.path(name)
        if path is None:
            self._send(404, b"not found", "text/plain")
            return
        self._send_file(path)

    def do_POST(self) -> None:
        """Results of the page, or its claim of the job."""
        inbox = self.server.inbox
        if inbox is None:
            self.close_connection = True
            self._send(404, b"not found", "text/plain")
            return
        try:
            answer = self._take(inbox)
        except RefusedPostError as e:
            self.close_connection = True  # its body may not have been read
            self._send(e.status, e.reason.encode(), "text/plain")
        else:
            self._send(200, json.dumps(answer).encode(), TYPES[".json"])

    def _take(self, inbox: Inbox) -> dict[str, str]:
        name = self._name()
        query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
        session, sha256 = query.get("session", ""), query.get("artifact", "")
        if name == "claim":
            self._body(inbox, MAX_POST)
            return {"session": inbox.claim()}
        if name == "events":
            inbox.post_events(session, self._body(inbox, MAX_POST))
        elif name == "logits":
            body = self._body(inbox, inbox.logits_size(sha256))
            inbox.post_logits(session, sha256, query.get("sha256", ""), body)
        else:
            raise inbox.refuse(404, "a post without the token, or to no address of the page")
        return {}

    def _body(self, inbox: Inbox, limit: int) -> bytes:
        """The body of a post, of at most `limit` bytes.

        Raises:
            RefusedPostError: it is larger, is cut off or does not say its length.
        """
        text = self.headers.get("Content-Length", "")
        if not (text.isascii() and text.isdigit() and len(text) < 16):
            raise inbox.refuse(411, "a post that does not say its length")
        size = int(text)
        if size > limit:
            raise inbox.refuse(413, f"a post of {size} bytes, of at most {limit}")
        body = b""
        with contextlib.suppress(OSError):
            body = self.rfile.read(size)
        if len(body) < size:
            raise inbox.refuse(400, f"a post that was cut off after {len(body)} of {size} bytes")
        return body

    def _name(self) -> str | None:
        """What the path names below the token; None without the right one."""
        path = unquote(urlsplit(self.path).path)
        _, _, rest = path.partition("/")
        token, slash, name = rest.partition("/")
        right = secrets.compare_digest(token.encode(), self.server.token.encode())
        return name if right and slash else None

    def _send_file(self, path: Path) -> None:
        """Send a file, or the part of it that is asked for: `bytes=FIRST-LAST`."""
        part, size = PART.fullmatch(self.headers.get("Range", "")), path.stat().st_size
        first, last = (int(part[1]), min(int(part[2]), size - 1)) if part else (0, size - 1)
        rest = max(last + 1 - first, 0)
        with path.open("rb") as file, contextlib.suppress(OSError):
            file.seek(first)
            self._head(
                206 if part else 200, rest, TYPES.get(path.suffix, "application/octet-stream")
            )
            while rest and (block := file.read(min(rest, 1 << 20))):
                self.wfile.write(block)
                rest -= len(block)

    def _send(self, status: int, body: bytes, kind: str) -> None:
        with contextlib.suppress(OSError):
            self._head(status, len(body), kind)
            self.wfile.write(body)

    def _head(self, status: int, size: int, kind: str) -> None:
        self.send_response(status)
        for key, value in {"Content-Type": kind, "Content-Length": str(size)}.items():
            self.send_header(key, value)
        for key, value in self.server.headers.items():
            self.send_header(key, value)
        self.end_headers()
