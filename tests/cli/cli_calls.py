"""Calling the command line, in this process or in one of its own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from edgenext.cli import main

MODEL = ("edgenext_xx_small", "--random-weights", "--num-classes", "10", "--size", "32")
NAME = "edgenext_xx_small-32"
FP32, PLAIN, INT8 = (f"{NAME}-{kind}.onnx" for kind in ("fp32", "fp32-plain", "w8a8-static"))
FEATURES = f"{NAME}-features-fp32.onnx"
PATIENCE_S = 60.0


CONFIG = """\
model = "edgenext_xx_small"
data = "digits"
random_weights = true
num_classes = 10
size = 32
limit = 120
out = "demo"
baselines = []

[quantize]
n = {n}

[bench]
rounds = 1
"""
STAGES = ["export plain", "export", "quantize, edgenext", "evaluate", "benchmark"]


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def call(*args: object) -> int:
    """Run a command in this process; its exit code."""
    argv, sys.argv = sys.argv, ["edgenext", *map(str, args)]
    logger = logging.getLogger("edgenext")
    handlers, level = logger.handlers, logger.level
    try:
        main()
    except SystemExit as e:
        assert isinstance(e.code, int)
        return e.code
    finally:
        sys.argv = argv
        logger.handlers = handlers
        logger.setLevel(level)
    raise AssertionError("main() always exits")


def tree(folder: Path) -> dict[str, str]:
    """Every file and folder below, with the hash of a file's bytes; the cache's are left out."""
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        if p.is_file()
        else "folder"
        for p in sorted(folder.rglob("*"))
        if "cache" not in p.parts
    }


def temporaries(folder: Path) -> list[Path]:
    """Files that were to be renamed and were not, the cache's too."""
    return [p for p in folder.rglob("*") if p.name.endswith(".tmp")]


class Cli:
    """The command line in this process, in a folder of its own."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capture = folder, capture

    def run(self, *args: object) -> Outcome:
        self._capture.readouterr()
        code = call(*args)
        out, err = self._capture.readouterr()
        return Outcome(code, out, err)

    def ok(self, *args: object) -> Outcome:
        done = self.run(*args)
        assert done.code == 0, done.err
        return done

    def fails(self, code: int, *args: object) -> str:
        """The one line on stderr of a command that must fail and leave nothing behind."""
        before = tree(self.folder)
        done = self.run(*args)
        assert (done.code, done.out) == (code, ""), done
        lines = done.err.splitlines()
        assert len(lines) == 1, done.err
        assert lines[0].startswith("edgenext: ")
        assert "internal error" not in lines[0]
        assert "Traceback" not in done.err
        after = tree(self.folder)
        assert after == before, {k for k in before | after if before.get(k) != after.get(k)}
        assert not temporaries(self.folder)
        return lines[0]


class Process:
    """A command in a process of its own, in a group of its own as a shell would start it."""

    def __init__(self, folder: Path, args: Sequence[object], stderr: int = subprocess.PIPE) -> None:
        self._popen = subprocess.Popen(
            [sys.executable, "-m", "edgenext", *map(str, args)],
            cwd=folder,
            env=environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
        self.pid = self._popen.pid

    def children(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.pid).children(recursive=True)
        return []

    def running(self) -> bool:
        return self._popen.poll() is None

    def until(self, happened: Callable[[], object], what: str) -> None:
        """Wait for something that the command does while it runs."""
        end = time.monotonic() + PATIENCE_S
        while not happened():
            assert self.running(), f"ended before {what}: {self._popen.communicate()}"
            assert time.monotonic() < end, f"never: {what}"
            time.sleep(0.005)

    def ctrl_c(self) -> None:
        """What a terminal does: SIGINT to the whole foreground group."""
        os.killpg(self.pid, 2)

    def end(self, patience_s: float = PATIENCE_S) -> Outcome:
        out, err = self._popen.communicate(timeout=patience_s)
        return Outcome(self._popen.returncode, out, err or "")

    def kill(self) -> None:
        for child in self.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        self._popen.kill()
        with contextlib.suppress(ValueError):  # the pipes were read to their end already
            self._popen.communicate()


def environment(folder: Path) -> dict[str, str]:
    """Of a command in a process of its own."""
    own = {"EDGENEXT_CACHE": str(folder / "cache"), "PYTHONWARNINGS": "error"}
    return {k: v for k, v in os.environ.items() if k != "EDGENEXT_DEBUG"} | own


def config(n: int = 16, more: str = "") -> Path:
    path = Path("demo.toml")
    path.write_text(CONFIG.format(n=n) + more)
    return path


def done_again(stderr: str, stages: Sequence[str] = STAGES) -> list[str]:
    """The stages that were done; all of them were announced, in order.

    Before them is what the images can show, and what a training does.
    """
    about = ("images to evaluate on can show", "top-1 is measured on")
    lines = [line for line in stderr.splitlines() if not any(text in line for text in about)]
    assert [line.removesuffix(": unchanged") for line in lines] == [*stages, "report"], stderr
    return [line for line in lines[:-1] if not line.endswith(": unchanged")]
