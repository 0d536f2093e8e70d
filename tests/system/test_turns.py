from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from edgenext.errors import RuntimeFailedError, UsageError
from edgenext.system.isolation import call_isolated
from edgenext.system.progress import StepProgress
from edgenext.system.turns import in_turns, works_at_once

CONVERTER = """
import time

def convert(job):
    time.sleep(job["seconds"])
    return {"seconds": job["seconds"]}
"""
SPAWNED_S = 3.0
"""More than a process takes to start."""


@pytest.fixture
def convert(tmp_path: Path) -> Callable[[float], float]:
    """Waits for a process that takes some seconds."""
    (tmp_path / "converter_of_a_test.py").write_text(CONVERTER)

    def call(seconds: float) -> float:
        result = call_isolated(
            "converter_of_a_test:convert",
            {"seconds": seconds},
            tmp_path / f"{seconds}.log",
            "it cannot be converted",
            path=tmp_path,
        )
        return float(result.result["seconds"])

    return call


def children() -> list[psutil.Process]:
    return [p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]


def test_processes_run_together_and_one_work_computes(convert: Callable[[float], float]) -> None:
    computed: list[tuple[float, float]] = []

    def compute() -> None:
        start = time.monotonic()
        time.sleep(0.2)
        computed.append((start, time.monotonic()))

    def work(seconds: float) -> float:
        compute()
        waited = convert(seconds)
        compute()
        return waited

    start = time.monotonic()
    seconds = [2.5, 2.0, 2.25]
    assert list(in_turns([partial(work, s) for s in seconds], at_once=3)) == seconds
    assert time.monotonic() - start < sum(seconds)
    assert all(a[1] <= b[0] for a, b in pairwise(sorted(computed)))


def test_what_waits_for_nothing_is_done_in_order() -> None:
    done: list[int] = []
    assert list(in_turns([partial(done.append, i) for i in range(20)], at_once=2)) == [None] * 20
    assert done == list(range(20))


def test_one_at_a_time_is_done_here() -> None:
    threads = list(in_turns([threading.get_ident, threading.get_ident], at_once=1))
    assert threads == [threading.get_ident()] * 2
    assert list(in_turns([threading.get_ident], at_once=8)) == threads[:1]
    assert works_at_once() >= 1


def test_where_one_fails_the_others_end(convert: Callable[[float], float]) -> None:
    def refuse() -> float:
        time.sleep(SPAWNED_S)
        raise UsageError("it has no form")

    before, start = children(), time.monotonic()
    with pytest.raises(UsageError, match="it has no form"):
        list(in_turns([partial(convert, 0.1), refuse, partial(convert, 60)], at_once=3))
    assert time.monotonic() - start < 30
    assert children() == before


def test_whoever_stops_ends_what_computes_and_what_waits(
    convert: Callable[[float], float],
) -> None:
    progress = StepProgress()

    def compute() -> float:
        for i in range(6000):
            progress("computing", i, 6000)
            time.sleep(0.01)
        return 60

    before, start = children(), time.monotonic()
    results = in_turns([lambda: 0.0, partial(convert, 60), compute], at_once=3)
    assert next(results) == 0
    time.sleep(SPAWNED_S)
    with pytest.raises(RuntimeFailedError):
        results.throw(RuntimeFailedError("stopped"))
    assert time.monotonic() - start < 30
    assert children() == before


def test_a_process_that_is_started_after_the_end_is_killed(
    convert: Callable[[float], float],
) -> None:
    computing, stopping = threading.Event(), threading.Event()

    def start_late() -> float:
        computing.set()
        stopping.wait()
        return convert(60)

    before, start = children(), time.monotonic()
    results = in_turns([lambda: 0.0, start_late], at_once=2)
    assert next(results) == 0
    assert computing.wait(10)
    threading.Timer(0.5, stopping.set).start()
    with pytest.raises(RuntimeFailedError):
        results.throw(RuntimeFailedError("stopped"))
    assert stopping.is_set()
    assert time.monotonic() - start < 30
    assert children() == before
