"""Jobs in processes: their outcome, leases, terms, and processes that die."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from edgenext.errors import SchedulerError
from edgenext.system.jobs.job import Job, Outcome, WorkerTerms, lease, run_job
from edgenext.system.jobs.local import ATTEMPTS, LocalExecutor
from edgenext.system.trees import TreeStore

FUNCTIONS = '''
import os, time
from pathlib import Path
from edgenext.errors import DataError

def check(expected, lease):
    return "is another worker" if expected.get("refuse") else ""

def copy(inputs):
    """A tree's only file, twice."""
    (source,) = inputs.tree(inputs.arguments["tree"]).iterdir()
    (inputs.out / "twice").write_bytes(2 * source.read_bytes())
    return {"name": source.name, "pid": os.getpid()}

def sleep(inputs):
    time.sleep(inputs.arguments["seconds"])
    return {}

def refuse(inputs):
    raise DataError("no images", "Add some")

def fail(inputs):
    raise ValueError("broken")

def die(inputs):
    os.kill(os.getpid(), 9)

def die_once(inputs):
    mark = Path(inputs.arguments["mark"])
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), 9)
    return {}
'''

Make = Callable[..., LocalExecutor]


@pytest.fixture(autouse=True)
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module of functions that this process and its workers can import."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "job_functions.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ['PYTHONPATH']}")
    monkeypatch.setenv("EDGENEXT_CACHE", str(tmp_path / "cache"))


def terms(*folders: Path, **expected: bool) -> WorkerTerms:
    return WorkerTerms("job_functions:check", expected, tuple(map(str, folders)))


def job(name: str, key: str = "k", held: str = "", **arguments: object) -> Job:
    return Job(key, f"job_functions:{name}", arguments, lease=held)


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[Make]:
    made: list[LocalExecutor] = []

    def make(workers: int = 2, **expected: bool) -> LocalExecutor:
        made.append(LocalExecutor(workers, ()))
        made[-1].agree(terms(tmp_path / "files", **expected))
        return made[-1]

    before = processes()
    yield make
    for each in made:
        each.close()
    assert processes() <= before


def processes() -> set[psutil.Process]:
    """Those that this one has started, whichever test did."""
    return set(psutil.Process().children(recursive=True))


def outcomes(executor: LocalExecutor, *jobs: Job) -> dict[str, Outcome]:
    for each in jobs:
        executor.submit(each)
    return {outcome.key: outcome for outcome in (executor.next() for _ in jobs)}


def test_a_job_reads_a_tree_and_gives_files(executor: Make, tmp_path: Path) -> None:
    digest = TreeStore(tmp_path / "files").add({"a": b"abc"})
    work = Job("k", "job_functions:copy", {"tree": digest}, (digest,))
    (outcome,) = outcomes(executor(), work).values()
    assert outcome.result["name"] == "a" and outcome.files == {"twice": b"abcabc"}
    assert outcome.result["pid"] != os.getpid()
    assert outcome.ended >= outcome.started > time.time() - 60


@pytest.mark.parametrize(
    ("name", "kind", "text", "code"),
    [
        ("refuse", "DataError", "no images. Add some", 3),
        ("fail", "EdgenextError", "internal error, ValueError: broken", 1),
    ],
)
def test_an_error_is_the_outcome(
    executor: Make, name: str, kind: str, text: str, code: int
) -> None:
    (outcome,) = outcomes(executor(1), job(name)).values()
    assert (outcome.error.kind, str(outcome.error), outcome.error.exit_code) == (kind, text, code)


def test_a_job_whose_process_dies_is_begun_again(executor: Make, tmp_path: Path) -> None:
    done = outcomes(
        executor(), job("die_once", "once", mark=str(tmp_path / "mark")), job("die", "always")
    )
    assert done["once"].error is None
    assert done["always"].error.kind == "RuntimeCrashedError"
    assert "was killed by SIGKILL" in done["always"].error.message
    assert ATTEMPTS == 3


def test_a_job_with_a_lease_runs_alone(executor: Make) -> None:
    shared = [job("sleep", f"shared {i}", seconds=0.2) for i in range(4)]
    leased = [job("sleep", f"leased {i}", held=f"device {i}", seconds=0.1) for i in range(2)]
    done = outcomes(executor(2), *leased, *shared)
    spans = sorted((o.started, o.ended, key) for key, o in done.items())
    for (_, end, first), (start, _, second) in pairwise(spans):
        if "leased" in first + second:
            assert end <= start, (first, second)
    by_start = [(o.started, o.ended) for key, o in done.items() if "shared" in key]
    assert any(a[0] < b[1] and b[0] < a[1] for a, b in pairwise(sorted(by_start)))  # two at once


def test_a_worker_that_does_not_agree_ends_everything(executor: Make) -> None:
    refusing = executor(1, refuse=True)
    refusing.submit(job("sleep", seconds=0))
    with pytest.raises(SchedulerError, match="is another worker"):
        refusing.next()


def test_a_tree_that_a_worker_lacks_is_sent_once_and_kept(tmp_path: Path) -> None:
    files = {"a": b"abc"}
    digest = TreeStore(tmp_path / "elsewhere").add(files)
    work = Job("k", "job_functions:copy", {"tree": digest}, (digest,))
    first = run_job(work, terms())
    assert first.lacking == (digest,) and first.result is None
    assert run_job(work, terms(), [files]).files == {"twice": b"abcabc"}
    assert run_job(work, terms()).files == {"twice": b"abcabc"}


def test_closing_ends_what_runs(executor: Make) -> None:
    before, running = processes(), executor(2)
    for i in range(2):
        running.submit(job("sleep", f"{i}", seconds=60))
    start = time.monotonic()
    running.close()
    assert time.monotonic() - start < 10
    assert processes() <= before


def test_a_lease_waits_for_that_of_another_process(executor: Make) -> None:
    held = executor(1)
    with lease("phone"):
        held.submit(job("sleep", held="phone", seconds=0))
        time.sleep(1.0)
        released = time.time()
    assert held.next().started >= released
