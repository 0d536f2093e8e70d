"""The engine of a sweep: each job once, failures where they belong, few points at a time."""

from __future__ import annotations

from collections import Counter, deque
from pathlib import Path
from typing import Any

import pytest

from edgenext.commands.sweep_engine import AHEAD, JobFailedError, Step, Steps, SweepEngine
from edgenext.commands.sweep_store import SweepStore
from edgenext.schema import Record, SweepPoint, SweepRow, WorkedOn
from edgenext.system.jobs.job import Job, Outcome, WorkerAnswer, WorkerTerms, run_job

FUNCTIONS = """
def check(expected, lease):
    return ""

def double(inputs):
    if inputs.arguments["n"] < 0:
        raise ValueError("negative")
    return {"value": 2 * inputs.arguments["n"]}
"""


class Doubled(Record):
    value: int
    worked: WorkedOn


class Inline:
    """Does each job in this process when its outcome is asked for."""

    def __init__(self, capacity: int = 2) -> None:
        self.capacity = capacity
        self.waiting: deque[Job] = deque()
        self.done: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    def submit(self, job: Job) -> None:
        self.waiting.append(job)
        leases = Counter(job.lease for job in self.waiting)
        self.most |= leases

    def next(self) -> Outcome:
        job = self.waiting.popleft()
        self.done[job.key] += 1
        return run_job(job, WorkerTerms("engine_functions:check", {}))

    def on_each(self, function: str) -> list[WorkerAnswer]:
        raise NotImplementedError

    def agree(self, terms: WorkerTerms) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "engine_functions.py").write_text(FUNCTIONS)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("EDGENEXT_CACHE", str(tmp_path / "cache"))


def step(n: int, lease: str = "") -> Step:
    return Step(Job(f"{n:02d}{lease}", "engine_functions:double", {"n": n}, lease=lease), Doubled)


def point(seed: int) -> SweepPoint:
    return SweepPoint(model="m", scheme="s", target="t", seed=seed)


def row(seed: int, **facts: Any) -> SweepRow:
    return SweepRow.model_validate(point(seed).model_dump() | {"status": "measured"} | facts)


def doubled_twice(seed: int, n: int, lease: str = "") -> Steps:
    """A point that doubles a number, then that."""
    try:
        (first,) = yield [step(n)]
        second, again = yield [step(first.value, lease), step(first.value, lease)]
    except JobFailedError as e:
        return row(seed, status="failed", error=str(e))
    assert second == again
    return row(seed, n=second.value)


def engine(tmp_path: Path, executor: Inline, *, stale: bool = False) -> SweepEngine:
    rows: list[SweepRow] = []
    return SweepEngine(SweepStore(tmp_path / "sweep"), executor, rows.append, lambda _: stale)


def test_rows_come_in_the_order_of_points_and_jobs_are_done_once(tmp_path: Path) -> None:
    executor = Inline()
    numbers = [3, 1, 3, 2, 1, -1, 6]
    points = {point(i): doubled_twice(i, n) for i, n in enumerate(numbers)}
    run = engine(tmp_path, executor)
    rows = run.run(points)
    assert [r.n for r in rows] == [12, 4, 12, 8, 4, None, 24]
    assert "negative" in (rows[5].error or "")
    assert set(executor.done.values()) == {1}
    assert set(executor.done) == {"03", "06", "01", "02", "04", "12", "-1"}
    assert len(run.done) == 6 and run.reused == set()


def test_a_second_time_only_what_failed_is_tried(tmp_path: Path) -> None:
    engine(tmp_path, Inline()).run({point(n): doubled_twice(n, n) for n in (1, 2)})
    executor = Inline()
    run = engine(tmp_path, executor)
    run.run({point(abs(n)): doubled_twice(abs(n), n) for n in (1, 2, -3)})
    assert set(executor.done) == {"-3"}
    assert run.reused == {"01", "02", "04"} and run.done == set()


def test_stale_records_are_made_again_once(tmp_path: Path) -> None:
    points = (1, 1, 2)
    engine(tmp_path, Inline()).run({point(i): doubled_twice(i, n) for i, n in enumerate(points)})
    executor = Inline()
    run = engine(tmp_path, executor, stale=True)
    rows = run.run({point(i): doubled_twice(i, n) for i, n in enumerate(points)})
    assert [r.n for r in rows] == [4, 4, 8]
    assert executor.done == {"01": 1, "02": 1, "04": 1} and run.reused == set()


def test_points_begin_when_there_is_room_and_leases_have_a_queue(tmp_path: Path) -> None:
    executor, begun = Inline(capacity=2), []

    def counted(i: int) -> Steps:
        begun.append(i)
        assert len(begun) <= 2 * executor.capacity + sum(executor.done.values()) + 1
        return (yield from doubled_twice(i, i, "phone"))

    rows = engine(tmp_path, executor).run({point(i): counted(i) for i in range(1, 40)})
    assert [r.n for r in rows] == [4 * i for i in range(1, 40)]
    assert executor.most[""] == executor.capacity
    assert executor.most["phone"] <= AHEAD


def test_a_damaged_record_is_made_again(tmp_path: Path) -> None:
    engine(tmp_path, Inline()).run({point(1): doubled_twice(1, 1)})
    for damage in ("{", '{"value": "a"}', ""):
        for path in (tmp_path / "sweep" / "records").rglob("01.json"):
            path.write_text(damage)
        executor = Inline()
        (result,) = engine(tmp_path, executor).run({point(1): doubled_twice(1, 1)})
        assert result.n == 4 and set(executor.done) == {"01"}
