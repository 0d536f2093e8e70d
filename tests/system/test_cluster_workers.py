"""Which workers of a scheduler can be used: what Dask says of them decides."""

from __future__ import annotations

from typing import Any

import pytest

from edgenext.errors import SchedulerError
from edgenext.system.jobs.cluster import require_usable

ADDRESS = "tcp://10.0.0.1:8786"


def worker(host: str = "10.0.0.2", threads: int = 1, **resources: float) -> dict[str, Any]:
    return {"host": host, "nthreads": threads, "resources": resources}


@pytest.mark.parametrize(
    ("workers", "text"),
    [
        ([], "has no workers. Start one: dask worker tcp://10.0.0.1:8786 --nthreads 1"),
        ([worker(orin=1), worker(threads=2)], "has 2 threads"),
        ([worker()], 'no worker at .* has the resource orin. .* --resources "orin=1"'),
        ([worker(orin=2)], "the resource orin would be used by 2 jobs at a time"),
        ([worker(orin=1), worker("10.0.0.3", orin=1)], "orin would be used by 2 jobs at a time"),
    ],
)
def test_workers_that_cannot_be_used(workers: list[dict[str, Any]], text: str) -> None:
    by_name = {f"tcp://{i}": facts for i, facts in enumerate(workers)}
    with pytest.raises(SchedulerError, match=text):
        require_usable(ADDRESS, by_name, ["orin"], [])


def test_a_shared_lease_is_one_of_each_machine() -> None:
    two = {"a": worker("10.0.0.2", core=1), "b": worker("10.0.0.3", core=1)}
    require_usable(ADDRESS, two, ["core"], ["core"])
    two["b"]["host"] = "10.0.0.2"
    with pytest.raises(SchedulerError, match="core would be used by 2 jobs at a time"):
        require_usable(ADDRESS, two, ["core"], ["core"])
