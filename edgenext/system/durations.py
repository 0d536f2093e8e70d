"""How long work took before, for a progress that cannot say how far it is."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator

from edgenext.errors import EdgenextError
from edgenext.system.files import cache_folder, write_text
from edgenext.system.parsing import read_json
from edgenext.system.progress import Progress

FILE = "durations.json"
"""In the cache: seconds by what was done."""
SHORTEST_S = 5.0
"""Work that takes less is not remembered."""


@contextlib.contextmanager
def timed(progress: Progress, task: str, key: str) -> Iterator[None]:
    """A task that cannot say how far it is; with the time that it took before, if it is known.

    Args:
        progress: told of the task.
        task: the work, such as `converting to Core ML`.
        key: what decides how long it takes.
    """
    before = _durations().get(key)
    progress(task if before is None else f"{task} (the last time: {duration(before)})", 0, 0)
    start = time.monotonic()
    yield
    seconds = round(time.monotonic() - start, 1)
    if seconds >= SHORTEST_S:
        text = json.dumps(_durations() | {key: seconds}, indent=1) + "\n"
        with contextlib.suppress(EdgenextError):  # without a cache there is no estimate
            write_text(cache_folder("") / FILE, text)


def duration(seconds: float) -> str:
    """Seconds in words, such as `40 s` or `2 min 5 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _durations() -> dict[str, float]:
    """What is known, of those that took long; a file that is damaged knows nothing."""
    with contextlib.suppress(EdgenextError):
        values = read_json(cache_folder("") / FILE)
        if isinstance(values, dict):
            return {k: float(v) for k, v in values.items() if isinstance(v, int | float) and v > 0}
    return {}
