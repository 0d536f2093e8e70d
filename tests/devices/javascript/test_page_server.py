"""The server of a page: what it gives out, and what it refuses."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgenext.devices.javascript.inbox import MAX_POST, Expected, Inbox
from edgenext.devices.javascript.server import RUNNER, RunnerServer, Served
from edgenext.devices.job import DeviceJob, JobArtifact, JobImages
from edgenext.devices.protocol import DoneEvent
from edgenext.errors import DeviceError
from edgenext.schema import TensorSpec

SHA = "a" * 64
N, CLASSES = 2, 3
JOB = DeviceJob(
    job="job",
    artifacts=(
        JobArtifact(
            sha256=SHA,
            file=SHA,
            name="file",
            input=TensorSpec(name="input", shape=(1, 3, 4, 4), dtype="float32"),
            output="logits",
            unit="cpu",
            format="onnx",
        ),
    ),
    images=JobImages(file="images", shape=(N, 4, 4, 3), sha256="b" * 64),
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    rounds=1,
)
MACHINE = {
    "cpu": "x",
    "isa": [],
    "cores": 1,
    "memory_gb": 0,
    "os": "",
    "python": "",
    "packages": {},
}
READY = {
    "runtime": "r",
    "batch": 1,
    "burst": 1,
    "load_ms": 1,
    "first_ms": 1,
    "warmup": 1,
    "settled": True,
}
LOGITS = np.arange(N * CLASSES, dtype="<f4").tobytes()
EVENTS: list[dict[str, Any]] = [
    {"event": "start", "protocol": 1, "job": "job", "environment": MACHINE},
    {"event": "ready", "artifact": SHA, "ready": READY},
    {"event": "round", "artifact": SHA, "round": 0, "samples_ms": [1.5]},
]


@dataclass
class Client:
    """Requests to a server."""

    server: RunnerServer
    inbox: Inbox
    folder: Path

    def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        connection.request(method, path, body or None, headers or {})
        answer = connection.getresponse()
        content = answer.read(), {k.lower(): v for k, v in answer.getheaders()}
        connection.close()
        return answer.status, *content

    def get(self, name: str) -> tuple[int, bytes, dict[str, str]]:
        return self.request("GET", f"/{self.server.token}/{name}")

    def post(self, name: str, body: bytes) -> int:
        return self.request("POST", f"/{self.server.token}/{name}", body)[0]

    def claim(self) -> str:
        status, body, _ = self.request("POST", f"/{self.server.token}/claim")
        assert status == 200
        return str(json.loads(body)["session"])


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    file = tmp_path / "file"
    file.write_bytes(b"content")
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / "engine.wasm").write_bytes(b"\0asm")
    served = Served(
        files={f"files/{SHA}": file},
        folders={"runner": RUNNER, "packages": tmp_path / "packages"},
        values={"job.json": JOB.model_dump(mode="json")},
    )
    inbox = Inbox(JOB, Expected(N, {SHA: CLASSES}), tmp_path / "out")
    (tmp_path / "out").mkdir()
    with RunnerServer(served, inbox) as server:
        yield Client(server, inbox, tmp_path / "out")


def lines(*events: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(event).encode() + b"\n" for event in events)


def test_a_page_gets_its_files_and_is_isolated(client: Client) -> None:
    status, page, headers = client.get("")
    assert status == 200 and b"<!doctype html>" in page
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-embedder-policy"] == "require-corp"
    assert client.get(f"files/{SHA}")[1] == b"content"
    for part, status, content in (
        ("bytes=1-3", 206, b"ont"),
        ("bytes=3-99", 206, b"tent"),
        ("bytes=9-3", 206, b""),
        ("bytes=-3", 200, b"content"),
    ):
        path = f"/{client.server.token}/files/{SHA}"
        assert client.request("GET", path, headers={"Range": part})[:2] == (status, content)
    assert client.get("packages/engine.wasm")[2]["content-type"] == "application/wasm"
    assert client.get("runner/page.mjs")[2]["content-type"] == "text/javascript"
    assert json.loads(client.get("job.json")[1])["job"] == "job"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/job.json",
        "//job.json",
        "/wrong/job.json",
        "/{token}",
        "/{token}/packages/",
        "/{token}/packages/../out",
        "/{token}/runner/../server.py",
        "/{token}/runner/%2e%2e/server.py",
        "/{token}/files/%2fetc%2fpasswd",
        "/{token}/packages//etc/passwd",
    ],
)
def test_nothing_else_is_given_out(client: Client, path: str) -> None:
    assert client.request("GET", path.format(token=client.server.token))[0] == 404


def test_hostile_posts_are_refused_and_the_run_goes_on(client: Client) -> None:
    assert client.request("POST", "/events?session=x", lines(*EVENTS))[0] == 404
    assert client.request("POST", "/wrong/claim")[0] == 404
    assert client.post("events?session=", lines(*EVENTS)) == 403  # no page has claimed the job
    former, session = client.claim(), client.claim()
    events, logits = f"events?session={session}", f"logits?session={session}&artifact={SHA}"
    digest = hashlib.sha256(LOGITS).hexdigest()
    assert client.post(f"events?session={former}", lines(*EVENTS)) == 403
    assert client.post("elsewhere", b"") == 404
    too_large = {"Content-Length": str(MAX_POST + 1)}
    path = f"/{client.server.token}/{events}"
    assert client.request("POST", path, b"x", too_large)[0] == 413
    assert client.request("POST", path, b"x", {"Content-Length": "-1"})[0] == 411
    chunked = {"Transfer-Encoding": "chunked"}
    assert client.request("POST", path, b"1\r\nx\r\n0\r\n\r\n", chunked)[0] == 411
    start, ready, first = EVENTS
    for bad in (
        b"\xff\xfe\n",
        b"{" * 5000 + b"\n",
        b"[]\n",
        b'{"event": "round", "artifact": "'
        + SHA.encode()
        + b'", "round": 0, "samples_ms": [NaN]}\n',
        lines(first),  # before `start`
        lines(start | {"job": "another"}),
        lines(start | {"protocol": 2}),
        lines(ready),
        lines({"event": "done"}),
    ):
        assert client.post(events, bad) == 422, bad
    assert client.post(events, lines(start, ready)) == 200
    for bad in (
        lines(first | {"round": 1}),
        lines(first | {"artifact": "c" * 64}),
        lines(first | {"samples_ms": [-1.0]}),
        lines(first | {"samples_ms": [1e400]}),
        lines({"event": "logits", "artifact": SHA, "done": N, "total": N, "sha256": digest}),
        lines({"event": "done"}),  # before its rounds
    ):
        assert client.post(events, bad) == 422, bad
    assert client.post(events, lines(first)) == 200
    wrong = {
        f"{logits}&sha256={digest}": (LOGITS[:-4], 422),  # one value less
        f"{logits}&sha256={'0' * 64}": (LOGITS, 422),
        f"logits?session={session}&artifact={'c' * 64}": (b"", 404),
        logits: (LOGITS + LOGITS, 413),
    }
    for name, (body, status) in wrong.items():
        assert client.post(name, body) == status, name
    infinite = np.full(N * CLASSES, np.inf, "<f4").tobytes()
    assert client.post(f"{logits}&sha256={hashlib.sha256(infinite).hexdigest()}", infinite) == 422
    assert list(client.folder.iterdir()) == []
    assert client.inbox.refused == 28

    assert client.post(f"{logits}&sha256={digest}", LOGITS) == 200
    scored = {"event": "logits", "artifact": SHA, "done": N, "total": N, "sha256": digest}
    assert client.post(events, lines(scored)) == 200
    assert client.post(events, lines({"event": "done", "sha256": "0" * 64})) == 422
    sent = hashlib.sha256(lines(*EVENTS, scored)).hexdigest()
    assert client.post(events, lines({"event": "done", "sha256": sent})) == 200
    assert client.post(events, lines(first)) == 409
    assert client.post("claim", b"") == 409
    taken = list(client.inbox.events(1.0))
    assert len(taken) == len(EVENTS) + 2 and isinstance(taken[-1], DoneEvent)
    record = client.inbox.record()
    assert record.done and record.artifacts[SHA].rounds == ((1.5,),)
    assert (client.folder / f"logits-{SHA}.f32").read_bytes() == LOGITS


def test_a_client_that_breaks_off_is_no_trouble(client: Client) -> None:
    session = client.claim()
    with socket.create_connection(("127.0.0.1", client.server.port)) as raw:
        head = f"POST /{client.server.token}/events?session={session} HTTP/1.1\r\n"
        raw.sendall(f"{head}Content-Length: 500\r\n\r\n{{".encode())
        raw.shutdown(socket.SHUT_WR)
        assert b"400" in raw.recv(100)
    assert client.post(f"events?session={session}", lines(*EVENTS)) == 200


def test_the_port_is_in_use(client: Client) -> None:
    with pytest.raises(DeviceError, match=f"127.0.0.1:{client.server.port}: another program uses"):
        RunnerServer(Served(), None, port=client.server.port)
