"""A page that a person opens: in another browser process, once or again."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli.cli_calls import Cli, Process
from devices.javascript.browsers import chromium, opened

from edgenext.formats.artifact import Artifact

ADDRESS = re.compile(r"http://(\S+):(\d+)/([\w-]+)/")


@pytest.fixture
def running(cli: Cli, tiny_files: list[Artifact], tmp_path: Path) -> Iterator[tuple[Process, str]]:
    """A benchmark that waits for its page, and the page's address."""
    chromium()
    cli.ok("devices", "add", "tablet", "--serve")
    yield from waiting(tmp_path, tiny_files, "tablet", "60")


def waiting(
    folder: Path, files: list[Artifact], device: str, rounds: str, *options: str
) -> Iterator[tuple[Process, str]]:
    log = folder / "stderr"
    names = [str(file.path) for file in files]
    with log.open("wb") as stderr:
        command = ("bench", *names, "--device", device, "--rounds", rounds, "--json", *options)
        process = Process(folder, command, stderr=stderr.fileno())
        try:
            process.until(lambda: ADDRESS.search(log.read_text()), "an address")
            match = ADDRESS.search(log.read_text())
            assert match
            yield process, match[0]
        finally:
            process.kill()


def test_results_come_back_from_another_browser_even_after_one_was_closed(
    running: tuple[Process, str], tmp_path: Path
) -> None:
    process, url = running
    with opened(url, tmp_path / "first"):
        time.sleep(4)  # it is loading or measuring
        assert process.running()
    assert process.running()  # the page was closed in mid-run: another may measure
    with opened(url, tmp_path / "second"):
        outcome = process.end()
    assert outcome.code == 0
    report = json.loads(outcome.out)
    assert [len(row["rounds"]) for row in report["results"]] == [60, 60]
    assert {row["evidence"] for row in report["results"]} == {"device"}
    assert report["device"]["model"].startswith("Chrom")
    assert "onnxruntime-web" in report["environment"]["packages"]


def test_a_page_over_the_network_has_one_thread(
    cli: Cli, tiny_files: list[Artifact], tmp_path: Path
) -> None:
    chromium()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
        try:
            route.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine is in no network")
        own = route.getsockname()[0]
    cli.ok("devices", "add", "phone", "--serve", "--lan")
    for process, url in waiting(tmp_path, tiny_files[:1], "phone", "1", "--threads", "2"):
        assert f"http://{own}:" in url
        with opened(url, tmp_path / "profile"):
            outcome = process.end()
    assert outcome.code == 0
    (row,) = json.loads(outcome.out)["results"]
    assert any("not cross-origin isolated" in reason for reason in row["reasons"])
