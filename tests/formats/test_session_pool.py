"""Several sessions of a file share the batches of an evaluation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgenext import api
from edgenext.errors import RuntimeFailedError
from edgenext.formats import session_pool
from edgenext.formats.isolated_session import IsolatedSession, open_isolated
from edgenext.formats.runtimes import open_session
from edgenext.formats.session import Logits, Session, logits
from edgenext.formats.session_pool import SessionPool, open_pool
from edgenext.options import ExportOptions, ModelOptions

N = 37


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> api.Artifact:
    options = ModelOptions(random_weights=True, num_classes=10, size=32)
    folder = tmp_path_factory.mktemp("pool")
    return api.export("edgenext_xx_small", options, ExportOptions(batch=4), out=folder)


@pytest.fixture
def images() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (N, 32, 32, 3), np.uint8)


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_pool, "usable_cpus", lambda: 2)
    monkeypatch.setattr(session_pool, "FEWEST_IMAGES", N)


def all_logits(session: Session, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.concatenate(list(logits(session, images)))


def test_a_pool_gives_the_logits_of_one_session_in_order(
    artifact: api.Artifact, images: NDArray[np.uint8]
) -> None:
    pool = open_pool(lambda threads: open_session(artifact, threads), N)
    assert isinstance(pool, SessionPool) and pool.batch == 4
    assert np.array_equal(all_logits(pool, images), all_logits(open_session(artifact, 1), images))


def test_a_pool_of_processes(
    artifact: api.Artifact, images: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgenext.formats.isolated_session.is_written_here", lambda _: False)
    opened: list[Session] = []

    def open_one(threads: int) -> Session:
        opened.append(open_isolated(artifact, threads))
        return opened[-1]

    pool = open_pool(open_one, N)
    assert len(opened) == 2 and all(isinstance(s, IsolatedSession) for s in opened)
    assert np.array_equal(all_logits(pool, images), all_logits(open_session(artifact, 1), images))


def test_few_images_take_one_session_with_all_threads(artifact: api.Artifact) -> None:
    threads: list[int] = []

    def open_one(count: int) -> Session:
        threads.append(count)
        return open_session(artifact, count)

    assert not isinstance(open_pool(open_one, N - 1), SessionPool)
    assert threads == [2]


class Refusing:
    """A session that refuses its third batch."""

    def __init__(self, session: Session) -> None:
        self.session, self.calls = session, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)

    def infer(self, prepared: NDArray[Any]) -> NDArray[np.float32]:
        self.calls += 1
        if self.calls == 3:
            raise RuntimeFailedError("out of memory")
        return self.session.infer(prepared)


@pytest.fixture
def refusing(artifact: api.Artifact) -> Iterator[Callable[[int], Session]]:
    yield lambda threads: Refusing(open_session(artifact, threads))  # type: ignore[return-value]


def test_an_error_ends_the_evaluation(
    refusing: Callable[[int], Session], images: NDArray[np.uint8]
) -> None:
    with pytest.raises(RuntimeFailedError, match="out of memory"):
        all_logits(open_pool(refusing, N), images)


def test_whoever_stops_early_leaves_nothing_running(
    artifact: api.Artifact, images: NDArray[np.uint8], tmp_path: Path
) -> None:
    pool = open_pool(lambda threads: open_session(artifact, threads), N)
    first = next(iter(parts := logits(pool, images)))
    parts.close()  # type: ignore[attr-defined]
    assert first.shape == (4, 10)
    assert len(all_logits(pool, images)) == N


def test_the_first_batch_is_computed_before_there_are_threads(
    images: NDArray[np.uint8], tmp_path: Path
) -> None:
    """OpenVINO's first inference is not safe in two threads: whatever it is, it is over then."""
    pytest.importorskip("openvino", reason="no openvino (pip install 'edgenext[openvino]')")
    options = ModelOptions(random_weights=True, num_classes=10, size=32)
    for_openvino = ExportOptions(target="cpu-openvino", batch=4)
    artifact = api.export("edgenext_xx_small", options, for_openvino, out=tmp_path)
    calls: list[tuple[int, float, float]] = []

    def open_one(threads: int) -> Session:
        session = open_session(artifact, threads)
        infer = session.infer

        def timed(prepared: NDArray[Any]) -> Logits:
            start = time.monotonic()
            result = infer(prepared)
            calls.append((threading.get_ident(), start, time.monotonic()))
            return result

        session.infer = timed  # type: ignore[method-assign]
        return session

    assert len(all_logits(open_pool(open_one, N), images)) == N
    (first, _, end), *others = sorted(calls, key=lambda call: call[1])
    assert first == threading.get_ident() and len(others) == 9
    assert all(thread != first and start >= end for thread, start, _ in others)
