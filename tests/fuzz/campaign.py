"""A campaign: mutated inputs for every reader, in worker processes; `make fuzz N=100000`.

    python -m fuzz.campaign --n 20000 [--only READER] [--write results/trust.json]

An input is a reader's name and a number, its seed: the same pair gives the same bytes. It passes if
the reader accepts it or ends in an `EdgenextError` of one line, within its limits. Anything else is
a failure: another exception, a signal, more time or memory.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import logging
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from fuzz.readers import READERS, Reader, inputs_of
from fuzz.trust import write_part

ROOT = Path(__file__).parents[2]
BY_NAME = {reader.name: reader for reader in READERS}
WAIT = 10
"""How many times its limit an input may wait: for the CPU, or for a file that blocks."""
IMPORTED = ("onnx", "onnxruntime", "scipy.stats", "torch")
"""What a reader may import at an input unlike its specimen: that memory is not the input's."""
SLACK_S = 30.0
"""Beyond an input's limit, before a worker that does not answer is killed: it is in native code."""


class LateError(BaseException):
    """An input took longer than its limit; no reader may catch this."""


@dataclass
class Figures:
    """The outcome of one reader's inputs."""

    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    failures: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    seconds: float = 0.0

    def add(self, seed: int, outcome: str, detail: str, seconds: float) -> None:
        self.inputs += 1
        self.accepted += outcome == "accepted"
        self.refused += outcome == "refused"
        if outcome == "failed":
            self.failures.append(f"seed {seed}: {detail}")
        self.slowest_s = max(self.slowest_s, round(seconds, 2))
        self.seconds = round(self.seconds + seconds, 1)


def attempt(reader: Reader, folder: Path) -> tuple[str, str]:
    """Read one input: `accepted`, `refused` or `failed`, and the error."""
    from edgenext.errors import EdgenextError

    def late(_number: int, _frame: FrameType | None) -> None:
        raise LateError

    for number in (signal.SIGALRM, signal.SIGPROF):
        signal.signal(number, late)
    signal.setitimer(signal.ITIMER_PROF, reader.limit_s)  # of the CPU: the machine may be shared
    signal.setitimer(signal.ITIMER_REAL, WAIT * reader.limit_s)
    try:
        reader.read(folder)
        outcome = ("accepted", "")
    except EdgenextError as e:
        message = str(e)
        outcome = ("refused", message)
        if "\n" in message or not message.strip() or len(message) > 3000:
            outcome = ("failed", f"a message that is not one line: {message[:200]!r}")
    except LateError:
        outcome = ("failed", f"more than {reader.limit_s:g} s")
    except BaseException as e:  # noqa: BLE001 - that is what is looked for
        place = traceback.extract_tb(e.__traceback__)[-1]
        own = [f for f in traceback.extract_tb(e.__traceback__) if "edgenext/" in f.filename]
        where = own[-1] if own else place
        detail = f"{type(e).__name__}: {' '.join(str(e).split())[:150]}"
        outcome = ("failed", f"{detail} at {Path(where.filename).name}:{where.lineno}")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    return outcome


def work(jobs: Sequence[tuple[str, int, int]], answers: int) -> None:
    """Run jobs of a reader's name, a first seed and a count; a line before and after each input."""
    for library in IMPORTED:
        importlib.import_module(library)
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    from edgenext.system.files import cache_folder

    os.environ.setdefault("EDGENEXT_ENVIRONMENTS", str(cache_folder("environments")))
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        os.environ["EDGENEXT_CACHE"] = str(Path(temporary, "cache"))
        for name, first, count in jobs:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
            reader, specimen = BY_NAME[name], Path(temporary, "specimen", name.replace(" ", "-"))
            specimen.mkdir(parents=True)
            reader.build(specimen)
            folder = Path(temporary, "input")
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(specimen, folder)
            reader.read(folder)  # a specimen is accepted; this loads what the reader imports, too
            _limit_memory(reader)
            for seed in range(first, first + count):
                _say(answers, {"reader": name, "seed": seed})
                rng = random.Random(f"{name} {seed}")  # noqa: S311 - seeded inputs, no secrets
                reader.mutate(specimen, folder, rng)
                start = time.perf_counter()
                outcome, detail = attempt(reader, folder)
                seconds = time.perf_counter() - start
                _say(answers, {"outcome": outcome, "detail": detail, "seconds": seconds})


def _limit_memory(reader: Reader) -> None:
    """More memory than the reader may use becomes a MemoryError, which is a failure."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + int(reader.limit_mb * (1 << 20))
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def _say(answers: int, row: dict[str, Any]) -> None:
    os.write(answers, json.dumps(row).encode() + b"\n")


def campaign(
    counts: dict[str, int],
    first: int = 0,
    quiet: bool = True,
    after_reader: Callable[[dict[str, Figures]], None] = lambda _: None,
) -> dict[str, Figures]:
    """Run so many inputs of each reader; a worker that dies is a failure, and another goes on.

    A reader without a specimen, because what makes it is not installed, fails alone.
    `after_reader` is told the figures when a reader has had all of its inputs.
    """
    figures = {name: Figures() for name in counts}
    jobs = [(name, first, count) for name, count in counts.items()]
    unmade: set[str] = set()
    while jobs:
        current: tuple[str, int] | None = None
        for row in _worker(jobs):
            if "reader" in row:
                current = (row["reader"], row["seed"])
            elif current:
                name, seed = current
                figures[name].add(seed, row["outcome"], row["detail"], row["seconds"])
                if row["outcome"] == "failed" and not quiet:
                    sys.stderr.write(f"{name}: seed {seed}: {row['detail']}\n")
                current = None
                if figures[name].inputs == counts[name]:
                    after_reader(figures)
            else:  # between inputs: the specimen of the next reader
                name = next(n for n, _, _ in jobs if figures[n].inputs < counts[n])
                figures[name].failures.append(f"no specimen: {row['died']}")
                unmade.add(name)
            if "died" in row:
                break
        done = {name: figures[name].inputs for name in counts if name not in unmade}
        jobs = [(n, first + done[n], counts[n] - done[n]) for n in done if done[n] < counts[n]]
    return figures


def _worker(jobs: Sequence[tuple[str, int, int]]) -> Iterator[dict[str, Any]]:
    """The lines of one worker; the last has `died`, in place of an outcome, if it was killed."""
    paths = os.pathsep.join((str(ROOT / "tests"), str(ROOT)))
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            [sys.executable, "-m", "fuzz.campaign", "--work", json.dumps(jobs)],
            stdout=subprocess.PIPE,
            stderr=log,
            env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"},
            start_new_session=True,
        ) as process,
    ):
        assert process.stdout
        last = time.monotonic()

        def kill_hung() -> None:
            while process.poll() is None:
                time.sleep(1)
                if time.monotonic() - last > 600 + SLACK_S:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)

        threading.Thread(target=kill_hung, daemon=True).start()
        for line in process.stdout:
            last = time.monotonic()
            yield json.loads(line)
        code = process.wait()
        log.seek(0)
        text = log.read().decode(errors="replace").strip().splitlines()[-1:]
    if code:
        died = f"the process died: {signal.Signals(-code).name if code < 0 else text}"
        yield {"outcome": "failed", "detail": died, "seconds": 0.0, "died": died}


def main() -> int:
    """Run a campaign, print its figures, and write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="the first seed of each reader")
    parser.add_argument("--only", action="append", default=[], choices=sorted(BY_NAME))
    parser.add_argument("--tier", action="append", default=[])
    parser.add_argument("--write", type=Path)
    parser.add_argument("--work")
    arguments = parser.parse_args()
    if arguments.work:
        answers = os.dup(1)
        os.dup2(2, 1)
        work(json.loads(arguments.work), answers)
        return 0
    chosen = tuple(
        reader
        for reader in READERS
        if (not arguments.only or reader.name in arguments.only)
        and (not arguments.tier or reader.tier in arguments.tier)
    )
    counts = {reader.name: inputs_of(reader, arguments.n, chosen) for reader in chosen}
    start = time.monotonic()

    def write(figures: dict[str, Figures]) -> None:
        if arguments.write:
            command = " ".join(("python -m fuzz.campaign", *sys.argv[1:]))
            write_part(arguments.write, "fuzz", command, _part(figures, time.monotonic() - start))

    figures = campaign(counts, arguments.first, quiet=False, after_reader=write)
    write(figures)
    for name, row in figures.items():
        sys.stdout.write(
            f"{name}: {row.inputs} inputs, {row.accepted} accepted, {row.refused} refused, "
            f"{len(row.failures)} failures; the slowest took {row.slowest_s} s\n"
        )
    return 1 if any(row.failures for row in figures.values()) else 0


def _part(figures: dict[str, Figures], seconds: float) -> dict[str, Any]:
    total = Counter[str]()
    for row in figures.values():
        total.update(
            inputs=row.inputs,
            accepted=row.accepted,
            refused=row.refused,
            failures=len(row.failures),
        )
    readers = {name: vars(row) for name, row in figures.items()}
    return dict(total) | {"seconds": round(seconds), "readers": readers}


if __name__ == "__main__":
    raise SystemExit(main())
