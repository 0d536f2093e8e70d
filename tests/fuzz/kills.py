"""Commands killed with SIGKILL at seeded random times, and run again; `make kills N=200`.

    python -m fuzz.kills --n 200 [--only COMMAND] [--write results/trust.json]

After a kill the same command, run again in the same folder, must end well and give the same bytes
as an undisturbed one; no temporary file may be left, and no process may have survived.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[2]
MODEL = ("edgenext_xx_small", "--random-weights", "--num-classes", "10", "--size", "32")
FP32 = "edgenext_xx_small-32-fp32.onnx"
MARK = "EDGENEXT_KILLED"
"""In the environment of a command and all its children: its value finds the orphans."""
ORPHAN_S = 10.0
"""How long children may take to see that their parent is gone."""
LIMIT_S = 600.0
TIMED = ("seconds", "trained", "bench", "latency")
"""Keys of JSON files whose values are times, which no two runs share."""

CONFIG = """\
model = "edgenext_xx_small"
data = "digits"
random_weights = true
num_classes = 10
size = 32
limit = 40
out = "demo"
baselines = []

[quantize]
n = 8

[bench]
rounds = 1

[train]
epochs = 1
batch_size = 64
"""


SWEEP = """\
data = "digits"
random_weights = true
num_classes = 10
limit = 40
shard = 10
out = "out"

[grid]
model = ["edgenext_xx_small"]
size = [32]
scheme = ["fp32", "w8a8-dynamic"]
"""


@dataclass(frozen=True)
class Command:
    """A command: its arguments, the files it starts from, and those it leaves that are its result.

    `same` are patterns of files that have the same bytes after every run; of JSON files without
    their times.
    """

    arguments: Sequence[object]
    same: Sequence[str]
    start: Callable[[Path], object] | None = None


def _artifact(folder: Path) -> None:
    call(folder, ("export", *MODEL))


def _config(folder: Path) -> None:
    (folder / "run.toml").write_text(CONFIG)


def _sweep(folder: Path) -> None:
    (folder / "sweep.toml").write_text(SWEEP)


COMMANDS: Mapping[str, Command] = {
    "export": Command(("export", *MODEL, "-o", "out"), ("out/*",)),
    "quantize": Command(
        ("quantize", FP32, "--calib", "digits", "-n", "8", "-o", "out"), ("out/*",), _artifact
    ),
    "sensitivity": Command(
        (
            *("sensitivity", FP32, "--calib", "digits", "-n", "8", "--limit", "8"),
            *("--site", "stages.3.*", "-o", "out"),
        ),
        ("out/sensitivity.json",),
        _artifact,
    ),
    "search": Command(
        (
            *("search", FP32, "--calib", "digits", "-n", "8", "--max-drop", "90"),
            *("--data", "digits", "--limit", "40", "--rounds", "1", "-o", "out"),
        ),
        ("out/*-search/*.onnx", "out/*-search/*.onnx.json", "out/*-search/logits/*"),
        _artifact,
    ),
    "train": Command(
        (
            *("train", "edgenext_xx_small", "--random-weights", "--num-classes", "10"),
            *("--size", "32", "--data", "digits", "--epochs", "2", "--batch-size", "64"),
            *("--resume", "-o", "out"),
        ),
        ("out/*.safetensors",),
    ),
    "run": Command(
        ("run", "run.toml"),
        ("demo/artifacts/*", "demo/predictions.npz", "demo/training/*/*.safetensors"),
        _config,
    ),
    "sweep": Command(
        ("sweep", "sweep.toml", "--workers", "2"), ("out/files/*/*", "out/results.csv"), _sweep
    ),
    "bench": Command(("bench", FP32, "--rounds", "1", "-o", "out.json"), (FP32,), _artifact),
    "fetch": Command(("fetch", "edgenext_small_usi"), ("cache/weights/*.pth",)),
}


def environment(folder: Path, mark: str = "") -> dict[str, str]:
    """Of a command: a cache in its folder, and the mark."""
    own = {
        "EDGENEXT_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        MARK: mark,
    }
    return os.environ | own


def call(folder: Path, arguments: Sequence[object]) -> float:
    """Run a command to its end; how long it took in s.

    Raises:
        RuntimeError: it failed.
    """
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "edgenext", *map(str, arguments)],
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr.strip()[-300:]}")
    return time.monotonic() - start


def kill(folder: Path, arguments: Sequence[object], after_s: float) -> tuple[bool, list[str]]:
    """Start a command and kill it after a time; whether it still ran, and orphans it left."""
    mark = f"{folder} {time.monotonic_ns()}"
    with subprocess.Popen(
        [sys.executable, "-m", "edgenext", *map(str, arguments)],
        cwd=folder,
        env=environment(folder, mark),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(after_s)
        running = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
    end = time.monotonic() + ORPHAN_S
    while (orphans := _marked(mark)) and time.monotonic() < end:
        time.sleep(0.1)
    for orphan in orphans:
        with contextlib.suppress(psutil.NoSuchProcess):
            orphan.kill()
    return running, [" ".join(orphan.cmdline()[:4]) for orphan in orphans if orphan.is_running()]


def _marked(mark: str) -> list[psutil.Process]:
    """Processes with a mark in their environment."""
    marked = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == mark:
                marked.append(process)
    return marked


def results(folder: Path, patterns: Sequence[str]) -> dict[str, str]:
    """Hashes of the files that are a command's result, by name."""
    files = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    return {str(p.relative_to(folder)): _digest(p) for p in files if p.is_file()}


def _digest(path: Path) -> str:
    data = path.read_bytes()
    if path.suffix == ".json":
        data = json.dumps(_untimed(json.loads(data)), sort_keys=True).encode()
    return hashlib.sha256(data).hexdigest()


def _untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _untimed(v) for k, v in value.items() if k not in TIMED}
    return [_untimed(v) for v in value] if isinstance(value, list) else value


def names(folder: Path) -> set[str]:
    """Every file below, without what differs by design: hashes in names and logs."""
    return {
        re.sub(r"[0-9a-f]{8,}", "#", str(p.relative_to(folder)))
        for p in folder.rglob("*")
        if p.is_file() and "logs" not in p.parts
    }


@contextlib.contextmanager
def mirror() -> Iterator[str]:
    """A server with a published checkpoint, which sends it slowly; its template of addresses."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    content = random.Random(0).randbytes(3 << 20)  # noqa: S311 - content, no secrets

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            start = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("ETag", '"v1"')
            self.end_headers()
            with contextlib.suppress(OSError):
                for at in range(start, len(content), 1 << 16):
                    self.wfile.write(content[at : at + (1 << 16)])
                    time.sleep(0.02)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/{{tag}}/{{name}}"
        server.shutdown()


@dataclass(frozen=True)
class Undisturbed:
    """A command's folder before and after it ran undisturbed."""

    before: Path
    seconds: float
    results: dict[str, str]
    names: set[str]


def undisturbed(command: Command, folder: Path) -> Undisturbed:
    """Run a command once, as the measure of its killed runs."""
    before, after = folder / "before", folder / "after"
    before.mkdir(parents=True)
    if command.start:
        command.start(before)
    shutil.copytree(before, after)
    seconds = call(after, command.arguments)
    done = results(after, command.same)
    if not done:
        raise RuntimeError(f"no result of {command.arguments[0]}")
    return Undisturbed(before, seconds, done, names(after))


def killed(command: Command, measure: Undisturbed, folder: Path, after_s: float) -> list[str]:
    """What is wrong after a command was killed and run again; `["in time"]` if it had ended."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(measure.before, folder)
    running, orphans = kill(folder, command.arguments, after_s)
    problems = [f"orphan: {orphan}" for orphan in orphans]
    try:
        call(folder, command.arguments)
    except (RuntimeError, subprocess.TimeoutExpired) as e:
        return [*problems, f"run again: {e}"]
    done = results(folder, command.same)
    differing = sorted(
        k for k in done.keys() | measure.results.keys() if done.get(k) != measure.results.get(k)
    )
    problems += [f"other bytes: {name}" for name in differing]
    problems += [f"left behind: {name}" for name in sorted(names(folder) - measure.names)]
    return problems if running or problems else ["in time"]


def campaign(counts: Mapping[str, int], seed: int = 0) -> dict[str, dict[str, Any]]:
    """So many kills of each command; its figures by name."""
    rng = random.Random(seed)  # noqa: S311 - times, no secrets
    figures: dict[str, dict[str, Any]] = {}
    with mirror() as template, tempfile.TemporaryDirectory(prefix="kills-") as temporary:
        os.environ["EDGENEXT_WEIGHTS_URL"] = template
        for name, count in counts.items():
            command, folder = COMMANDS[name], Path(temporary, name)
            measure = undisturbed(command, folder)
            row: dict[str, Any] = {"kills": 0, "ended_before": 0, "failures": []}
            row["undisturbed_s"] = round(measure.seconds, 1)
            latest_s = measure.seconds
            while row["kills"] < count:
                after_s = round(rng.uniform(0, latest_s), 2)
                problems = killed(command, measure, folder / "killed", after_s)
                if problems == ["in time"]:  # the machine was busier when it was undisturbed
                    row["ended_before"] += 1
                    latest_s = after_s
                    continue
                row["kills"] += 1
                row["failures"] += [f"after {after_s} s: {problem}" for problem in problems]
            figures[name] = row
            sys.stdout.write(f"{name}: {json.dumps(row)}\n")
            sys.stdout.flush()
            shutil.rmtree(folder)
    return figures


def main() -> int:
    """Run a campaign, and write its figures where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", default=[], choices=sorted(COMMANDS))
    parser.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    chosen = arguments.only or list(COMMANDS)
    each, rest = divmod(arguments.n, len(chosen))
    counts = {name: each + (i < rest) for i, name in enumerate(chosen)}
    start = time.monotonic()
    figures = campaign(counts, arguments.seed)
    failures = sum(len(row["failures"]) for row in figures.values())
    if arguments.write:
        from fuzz.trust import write_part

        totals = {
            "kills": sum(row["kills"] for row in figures.values()),
            "failures": failures,
            "seconds": round(time.monotonic() - start),
            "commands": figures,
        }
        command = " ".join(("python -m fuzz.kills", *sys.argv[1:]))
        write_part(arguments.write, "kills", command, totals)
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
