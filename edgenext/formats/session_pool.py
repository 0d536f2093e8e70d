"""Several sessions of one file, which share the batches of an evaluation.

A batch of one image has too little work for the threads of many cores: as many inferences at once
as there are cores, each on one thread, take less time.
"""

from __future__ import annotations

import queue
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any

from numpy.typing import NDArray

from edgenext.formats.session import Images, Logits, Session, Tensor
from edgenext.system.cpu import usable_cpus

MOST = 8
"""Sessions at once: each is a process with the file in memory."""
FEWEST_IMAGES = 512
"""Fewer images take less time than further sessions take to start."""


def open_pool(open_session: Callable[[int], Session], images: int) -> Session:
    """A session for so many images: several at once, if there are enough of them.

    Args:
        open_session: loads the file, to compute on so many threads.
        images: that will be run.
    """
    cpus = usable_cpus()
    count = min(cpus, MOST)
    if count < 2 or images < FEWEST_IMAGES:
        return open_session(cpus)
    first = open_session(1)
    if first.evidence != "host":  # simulators and interpreters compute in Python
        return open_session(cpus)
    return SessionPool([first, *(open_session(1) for _ in range(count - 1))])


class SessionPool:
    """A session that runs batches in several others of the same file."""

    def __init__(self, sessions: Sequence[Session]) -> None:
        self._sessions = sessions
        first = self._first = sessions[0]
        self.runtime, self.evidence = first.runtime, first.evidence
        self.batch, self.gives_probabilities = first.batch, first.gives_probabilities
        self.fallback, self.precision_asked = first.fallback, first.precision_asked
        self.precision, self.precision_emulated = first.precision, first.precision_emulated

    def prepare(self, images: Images) -> NDArray[Any]:
        """The input tensor of a batch of images; see `Session.prepare`."""
        return self._first.prepare(images)

    def infer(self, prepared: NDArray[Any]) -> Logits:
        """Logits of one prepared batch."""
        return self._first.infer(prepared)

    def run(self, prepared: NDArray[Any]) -> Sequence[Tensor]:
        """Every output of one prepared batch."""
        return self._first.run(prepared)

    def infer_each(self, batches: Iterable[Images]) -> Iterator[Logits]:
        """Logits of batches of images, in order; a few batches ahead are computed at once.

        The first is computed alone: what a runtime initialises with its first inference is not
        always safe in two threads. OpenVINO 2026.4 waits for ever there, one thread for Python's
        lock and one for the static variable that the other is initialising.
        """
        remaining = iter(batches)
        for images in islice(remaining, 1):
            yield self._first.infer(self._first.prepare(images))
        idle: queue.SimpleQueue[Session] = queue.SimpleQueue()
        for session in self._sessions:
            idle.put(session)

        def infer(images: Images) -> Logits:
            session = idle.get()
            try:
                return session.infer(session.prepare(images))
            finally:
                idle.put(session)

        pending: deque[Future[Logits]] = deque()
        with ThreadPoolExecutor(len(self._sessions)) as executor:
            try:
                for images in remaining:
                    pending.append(executor.submit(infer, images))
                    if len(pending) > 2 * len(self._sessions):
                        yield pending.popleft().result()
                while pending:
                    yield pending.popleft().result()
            finally:
                for future in pending:
                    future.cancel()
