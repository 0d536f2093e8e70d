"""Ctrl-C: exit code 130, one line, no process and no half file left; a run then goes on."""

from __future__ import annotations

import io
import os
import pty
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from cli_calls import (
    CONFIG,
    FP32,
    MODEL,
    PATIENCE_S,
    STAGES,
    Cli,
    Process,
    config,
    done_again,
    temporaries,
    tree,
)
from PIL import Image

Artifacts = Callable[..., list[Path]]
Start = Callable[..., Process]


@pytest.fixture
def many_pictures(tmp_path: Path) -> str:
    """More pictures than one process decodes alone, each slow to decode."""
    encoded = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (600, 800, 3), np.uint8)
    Image.fromarray(pixels).save(encoded, "JPEG", quality=90)
    for k in range(600):
        folder = tmp_path / "pictures" / str(k % 10)
        folder.mkdir(parents=True, exist_ok=True)
        # Bytes behind the end of a JPEG change its hash and nothing else.
        (folder / f"{k}.jpg").write_bytes(encoded.getvalue() + k.to_bytes(2, "little"))
    return "pictures"


INTERRUPTED = "edgenext: interrupted. The same command goes on where it was stopped"


class Screen:
    """A terminal that stderr can be; what was written to it can be read while it grows."""

    def __init__(self) -> None:
        self._ours, self.theirs = pty.openpty()
        self.text = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        try:
            while data := os.read(self._ours, 4096):
                self.text += data.decode(errors="replace")
        except OSError:  # the last one that wrote is gone
            pass

    def close(self) -> None:
        """Wait for the last words."""
        if self._reader.is_alive():
            os.close(self.theirs)
            self._reader.join(PATIENCE_S)
            os.close(self._ours)


@pytest.fixture
def screen() -> Iterator[Screen]:
    terminal = Screen()
    yield terminal
    terminal.close()


def interrupt(process: Process) -> str:
    """Press Ctrl-C: how the command and its children must end; what it wrote on stderr."""
    children = process.children()
    process.ctrl_c()
    done = process.end()
    assert (done.code, done.out) == (130, "")
    assert not [child for child in children if child.is_running() and child.status() != "zombie"]
    return done.err


def test_while_images_are_decoded(
    tmp_path: Path, artifacts: Artifacts, many_pictures: str, start: Start
) -> None:
    before = tree(tmp_path)
    process = start("eval", *artifacts(FP32), "--data", many_pictures)
    process.until(lambda: any(p.stat().st_size > 4096 for p in temporaries(tmp_path)), "pixels")
    assert interrupt(process) == "edgenext: interrupted\n"
    assert tree(tmp_path).keys() - before.keys() == {FP32, f"{FP32}.json"}
    kept = {p.parent.name for p in (tmp_path / "cache").rglob("*") if p.is_file()}
    assert kept == {"index"}, "hashes of images, which are whole"


def test_while_calibrating(tmp_path: Path, start: Start, screen: Screen) -> None:
    how = ("--calib", "digits", "-n", "1000", "-o", "out")
    process = start("quantize", *MODEL, *how, stderr=screen.theirs)
    process.until(lambda: "calibrating" in screen.text, "the bar is on the screen")
    interrupt(process)
    screen.close()
    assert "edgenext: interrupted" in screen.text
    assert not (tmp_path / "out").exists()


def test_a_run_goes_on_where_it_was_stopped(cli: Cli, ran: Path, start: Start) -> None:
    before = tree(ran)
    config().write_text(CONFIG.format(n=24).replace("rounds = 1", "rounds = 500"))
    process = start("run", "demo.toml")
    process.until(lambda: len(process.children()) == 3, "three workers are measured")
    shows, *said = interrupt(process).splitlines()
    assert "images to evaluate on can show" in shows
    done = ["quantize, edgenext", "evaluate", "benchmark"]
    assert said == [f"{s}: unchanged" for s in STAGES[:2]] + [*done, INTERRUPTED]
    assert not temporaries(cli.folder)
    # What was not reached is as it was.
    for name in ("bench.json", "run.json", "report.html"):
        assert tree(ran)[name] == before[name]
    artifacts = tree(ran / "artifacts")
    assert done_again(cli.ok("run", config(n=24)).err) == ["benchmark"]
    assert tree(ran / "artifacts") == artifacts
