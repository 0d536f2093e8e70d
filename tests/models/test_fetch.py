"""Downloads from a real HTTP server on loopback, which misbehaves in many ways."""

from __future__ import annotations

import hashlib
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import CONTENT, NAME, Server

from edgenext.errors import DownloadError, InputError, OutputError, UsageError
from edgenext.models.cache import cached_path, known_sha256, record_path
from edgenext.models.download import MAX_FAILURES, MIN_GAIN
from edgenext.models.fetch import download_url, fetch


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(server: Server, cache: Path, path: str = "/good", **options: object) -> Path:
    options = {"timeout_s": 5, "backoff_s": 0.005} | options
    return fetch(NAME, cache_dir=cache, url=server.root + path, **options)


def part_of(cache: Path) -> Path:
    return cache / "weights" / f"{NAME}.pth.part"


def file_names(cache: Path) -> set[str]:
    return {p.name for p in (cache / "weights").iterdir()}


def test_a_file_is_fetched_once_and_recorded(server, tmp_path) -> None:
    path = get(server, tmp_path)
    assert path == cached_path(NAME, tmp_path) == tmp_path / "weights" / f"{NAME}.pth"
    assert path.read_bytes() == CONTENT
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    assert known_sha256(NAME, tmp_path) == sha256
    recorded = json.loads(record_path(NAME, tmp_path).read_text())
    assert recorded == {
        "name": NAME,
        "sha256": sha256,
        "size_bytes": len(CONTENT),
        "url": f"{server.root}/good",
    }
    assert file_names(tmp_path) == {path.name, record_path(NAME, tmp_path).name}
    assert get(server, tmp_path) == path
    assert len(server.requests) == 1
    assert server.range_headers == [None]


def test_progress_counts_up_to_the_size(server, tmp_path) -> None:
    calls: list[tuple[str, int, int]] = []
    get(server, tmp_path, progress=lambda *call: calls.append(call))
    assert {task for task, _, _ in calls} == {f"fetching {NAME}.pth"}
    assert calls[0][1:] == (0, len(CONTENT))
    assert calls[-1][1:] == (len(CONTENT), len(CONTENT))
    assert calls == sorted(calls)


def test_a_dropped_connection_is_resumed_by_range(server, tmp_path) -> None:
    server.cut = lambda n: 100_000 if n < 2 else None
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.range_headers == [None, "bytes=100000-", "bytes=200000-"]
    assert [h.get("If-Range") for _, h in server.requests] == [None, '"v1"', '"v1"']
    assert server.statuses == [200, 206, 206]


def test_a_truncated_download_fails_and_the_next_call_resumes_it(server, tmp_path) -> None:
    server.cut = lambda _: 10_000
    with pytest.raises(DownloadError, match=r"ended after 50000 of 300000 bytes") as caught:
        get(server, tmp_path)
    assert caught.value.exit_code == 7
    assert len(server.requests) == MAX_FAILURES
    assert not cached_path(NAME, tmp_path).exists()
    assert part_of(tmp_path).read_bytes() == CONTENT[:50_000]
    server.cut = lambda _: None
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.range_headers[-1] == "bytes=50000-"


def test_a_connection_may_drop_often_as_long_as_it_gains(server, tmp_path) -> None:
    server.content = CONTENT * 30
    server.cut = lambda _: MIN_GAIN + 1
    assert get(server, tmp_path).read_bytes() == server.content
    assert len(server.requests) == -(-len(server.content) // (MIN_GAIN + 1)) > MAX_FAILURES


def test_a_server_without_ranges_starts_over(server, tmp_path) -> None:
    server.ranges = False
    server.cut = lambda n: 100_000 if n == 0 else None
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.range_headers == [None, "bytes=100000-"]
    assert server.statuses == [200, 200]


@pytest.mark.parametrize("etag", [None, 'W/"weak"'])
def test_without_a_strong_validator_nothing_is_resumed(server, tmp_path, etag) -> None:
    server.etag = etag
    server.cut = lambda n: 100_000 if n == 0 else None
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.range_headers == [None, None]


def test_a_file_that_has_changed_starts_over(server, tmp_path) -> None:
    server.cut = lambda _: 30_000
    with pytest.raises(DownloadError):
        get(server, tmp_path)
    server.cut = lambda _: None
    server.content, server.etag = CONTENT[::-1], '"v2"'
    assert get(server, tmp_path).read_bytes() == CONTENT[::-1]
    assert server.requests[-1][1]["If-Range"] == '"v1"'
    assert server.statuses[-1] == 200


def test_another_address_does_not_continue_the_first(server, tmp_path) -> None:
    server.cut = lambda _: 30_000
    with pytest.raises(DownloadError):
        get(server, tmp_path)
    server.cut = lambda _: None
    get(server, tmp_path, "/elsewhere")
    assert server.range_headers[-1] is None


def test_a_part_longer_than_the_file_starts_over(server, tmp_path) -> None:
    server.cut = lambda _: 30_000
    with pytest.raises(DownloadError):
        get(server, tmp_path)
    server.cut = lambda _: None
    server.content = CONTENT[:1000]
    assert get(server, tmp_path).read_bytes() == CONTENT[:1000]
    assert server.statuses[-2:] == [416, 200]


def test_a_complete_part_is_not_downloaded_again(server, tmp_path) -> None:
    part = part_of(tmp_path)
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT)
    resume = {"url": f"{server.root}/good", "version": '"v1"', "total": len(CONTENT)}
    part.with_name(part.name + ".json").write_text(json.dumps(resume))
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.requests == []


def test_chunked_answers(server, tmp_path) -> None:
    server.chunked = True
    server.cut = lambda n: 100_000 if n == 0 else None
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.statuses == [200, 206]


def test_redirects_are_followed(server, tmp_path) -> None:
    assert get(server, tmp_path, "/elsewhere").read_bytes() == CONTENT


def test_redirects_to_local_files_are_not_followed(server, tmp_path) -> None:
    with pytest.raises(DownloadError):
        get(server, tmp_path, "/file")
    assert file_names(tmp_path) == set()


def test_a_missing_file_names_its_address(server, tmp_path) -> None:
    with pytest.raises(DownloadError, match=r"127\.0\.0\.1:\d+/none: HTTP 404") as caught:
        get(server, tmp_path, "/none")
    assert "EDGENEXT_WEIGHTS_URL" in caught.value.remedy
    assert len(server.requests) == 1
    assert file_names(tmp_path) == set()


def test_a_busy_server_is_retried(server, tmp_path) -> None:
    server.status = lambda n: (503, 429, 200)[n]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.statuses == [503, 429, 200]


def test_a_server_that_stays_broken_is_an_error(server, tmp_path) -> None:
    server.status = lambda _: 500
    with pytest.raises(DownloadError, match="HTTP Error 500"):
        get(server, tmp_path)
    assert len(server.requests) == MAX_FAILURES


def test_no_server_at_all(tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(
        DownloadError, match=f"cannot download http://127.0.0.1:{port}/a: .*refused"
    ):
        fetch(NAME, cache_dir=tmp_path, url=f"http://127.0.0.1:{port}/a", backoff_s=0.001)


def test_a_slow_server_is_waited_for(server, tmp_path) -> None:
    server.pause_s = 0.03
    assert get(server, tmp_path, timeout_s=2).read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_a_silent_server_is_dropped(server, tmp_path) -> None:
    server.pause_s = 1.0
    with pytest.raises(DownloadError, match="timed out"):
        get(server, tmp_path, timeout_s=0.1)
    assert len(server.requests) == MAX_FAILURES


def test_a_corrupt_download_is_refused_by_the_public_hash(server, tmp_path) -> None:
    name = "edgenext_xx_small"
    assert known_sha256(name, tmp_path).startswith("d8b309b2ecec97a8")
    with pytest.raises(DownloadError, match=r"is not edgenext_xx_small: .* not d8b309b2ecec97a8"):
        fetch(name, cache_dir=tmp_path, url=f"{server.root}/good")
    assert file_names(tmp_path) == set()


def test_the_recorded_hash_is_required_from_then_on(server, tmp_path) -> None:
    get(server, tmp_path).unlink()
    server.content = CONTENT[::-1]
    with pytest.raises(DownloadError, match=f"is not {NAME}") as caught:
        get(server, tmp_path)
    assert str(record_path(NAME, tmp_path)) in caught.value.remedy
    assert file_names(tmp_path) == {record_path(NAME, tmp_path).name}
    server.content = CONTENT
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_damaged_cached_file_is_fetched_again(server, tmp_path) -> None:
    path = get(server, tmp_path)
    path.write_bytes(CONTENT[:-1] + b"x")
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 2


def test_a_file_copied_by_hand_is_recorded(tmp_path) -> None:
    path = cached_path(NAME, tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"by hand")
    assert fetch(NAME, cache_dir=tmp_path) == path
    assert known_sha256(NAME, tmp_path) == hashlib.sha256(b"by hand").hexdigest()


def test_a_broken_record_is_not_ignored(server, tmp_path) -> None:
    get(server, tmp_path)
    record_path(NAME, tmp_path).write_text("{")
    with pytest.raises(InputError, match="cannot read the record"):
        get(server, tmp_path)


def test_an_unwritable_cache(server, tmp_path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError, match="cannot write") as caught:
        get(server, tmp_path / "file")
    assert caught.value.exit_code == 6
    assert "EDGENEXT_CACHE" in caught.value.remedy


LIMITED = """
import resource, signal, sys
from pathlib import Path
from edgenext.errors import OutputError
from edgenext.models.fetch import fetch
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    fetch(sys.argv[1], cache_dir=Path(sys.argv[2]), url=sys.argv[3])
except OutputError as e:
    sys.exit(f"OutputError: {e}")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs file size limits")
def test_a_full_disk(server, tmp_path) -> None:
    """A limit on the size of files fails the write as a full disk does."""
    command = [sys.executable, "-c", LIMITED, NAME, str(tmp_path), f"{server.root}/good"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert process.returncode == 1
    assert process.stderr.startswith("OutputError: cannot write ")
    assert "Traceback" not in process.stderr
    assert not cached_path(NAME, tmp_path).exists()


INTERRUPTED = """
import sys
from pathlib import Path
from edgenext.models.fetch import fetch
def report(task, done, total):
    if done > 100_000:
        print("half-way", flush=True)
try:
    fetch(sys.argv[1], cache_dir=Path(sys.argv[2]), url=sys.argv[3], progress=report)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_leaves_a_part_that_the_next_call_resumes(server, tmp_path) -> None:
    server.pause_s = 0.1
    command = [sys.executable, "-c", INTERRUPTED, NAME, str(tmp_path), f"{server.root}/good"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "half-way\n"
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 130
    assert not cached_path(NAME, tmp_path).exists()
    size = part_of(tmp_path).stat().st_size
    assert 100_000 < size < len(CONTENT)
    server.pause_s = 0
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.range_headers == [None, f"bytes={size}-"]


def test_two_downloads_of_one_file_do_not_mix(server, tmp_path) -> None:
    server.pause_s = 0.05
    started, paths = threading.Event(), []

    def first() -> None:
        paths.append(get(server, tmp_path, progress=lambda *_: started.set()))

    thread = threading.Thread(target=first)
    thread.start()
    assert started.wait(10)
    with pytest.raises(DownloadError, match=rf"{NAME}.pth is being downloaded by process \d+"):
        get(server, tmp_path)
    thread.join(20)
    assert paths[0].read_bytes() == CONTENT


def test_the_mirror_template(server, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("EDGENEXT_WEIGHTS_URL", "http://mirror.invalid/{tag}/{name}.bin")
    assert download_url(NAME) == f"http://mirror.invalid/v1.1/{NAME}.bin"
    monkeypatch.setenv("EDGENEXT_WEIGHTS_URL", f"{server.root}/good")
    assert fetch(NAME, cache_dir=tmp_path).read_bytes() == CONTENT
    for template in ("http://a/{version}", "http://a/{", "http://a/{0}", "http://a/{name.x}"):
        monkeypatch.setenv("EDGENEXT_WEIGHTS_URL", template)
        with pytest.raises(UsageError, match="EDGENEXT_WEIGHTS_URL"):
            download_url(NAME)


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://a/b", "/etc/hostname", "a"])
def test_addresses_that_are_not_http_are_refused(tmp_path, url: str) -> None:
    with pytest.raises(UsageError, match="not an http or https address"):
        fetch(NAME, cache_dir=tmp_path, url=url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:port/", "http://", "http://a b/c"])
def test_addresses_that_cannot_be_parsed(tmp_path, url: str) -> None:
    with pytest.raises(DownloadError, match="cannot download"):
        fetch(NAME, cache_dir=tmp_path, url=url, backoff_s=0.001)


def test_unknown_names_suggest_the_nearest(tmp_path) -> None:
    for call in (fetch, known_sha256, cached_path):
        with pytest.raises(UsageError, match="Did you mean"):
            call("edgenext_smal_usi")


def test_the_environment_sets_the_cache_folder(no_real_cache, monkeypatch) -> None:
    assert cached_path(NAME) == no_real_cache / "weights" / f"{NAME}.pth"
    monkeypatch.delenv("EDGENEXT_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cached_path(NAME) == Path.home() / ".cache/edgenext/weights" / f"{NAME}.pth"
