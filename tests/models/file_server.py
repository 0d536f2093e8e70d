"""A real HTTP server on loopback that misbehaves as a test requires."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = "edgenext_small_usi"
CONTENT = random.Random(0).randbytes(300_000)  # noqa: S311 - content, not secrets


class Server(ThreadingHTTPServer):
    """Serves `content` at /good, and records the path and headers of every request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.etag: str | None = '"v1"'
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.statuses: list[int] = []
        self.ranges = True
        self.cut: Callable[[int], int | None] = lambda _: None
        """How many bytes to send before hanging up, by the number of the request."""
        self.status: Callable[[int], int] = lambda _: 200
        self.chunked = False
        self.pause_s = 0.0

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def range_headers(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.requests]

    def handle_error(self, request, client_address) -> None:
        """A client that hangs up is part of these tests."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None: ...

    def do_GET(self) -> None:
        server, number = self.server, len(self.server.requests)
        server.requests.append((self.path, dict(self.headers)))
        self.close_connection = True
        if self.path == "/elsewhere":
            return self._plain(302, {"Location": "/good"})
        if self.path == "/file":
            return self._plain(302, {"Location": "file:///etc/hostname"})
        if self.path != "/good":
            return self._plain(404, {})
        if (status := server.status(number)) != 200:
            return self._plain(status, {})
        return self._file(server, number)

    def _plain(self, status: int, headers: dict[str, str]) -> None:
        self.server.statuses.append(status)
        self.send_response(status)
        for item in headers.items():
            self.send_header(*item)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _file(self, server: Server, number: int) -> None:
        content, start, status = server.content, 0, 200
        byte_range, condition = self.headers.get("Range"), self.headers.get("If-Range")
        if byte_range and server.ranges and condition in (None, server.etag):
            start, status = int(byte_range.removeprefix("bytes=").rstrip("-")), 206
            if start >= len(content):
                return self._plain(416, {"Content-Range": f"bytes */{len(content)}"})
        server.statuses.append(status)
        self.send_response(status)
        if status == 206:
            last = len(content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(content)}")
        if server.etag:
            self.send_header("ETag", server.etag)
        if server.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = server.cut(number)
        body = content[start : None if end is None else start + end]
        step = 20_000 if server.pause_s else max(len(body), 1)
        for i in range(0, len(body), step):
            piece = body[i : i + step]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if server.chunked else piece)
            self.wfile.flush()
            time.sleep(server.pause_s)
        if server.chunked and end is None:
            self.wfile.write(b"0\r\n\r\n")
        return None
