"""Jobs on a real scheduler: trees by their hash, processes that die, what is cancelled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dask_cluster import Cluster, cluster

pytest.importorskip("distributed", reason="the extra sweep is not installed")

FUNCTIONS = '''
import os
from pathlib import Path

def check(expected, lease):
    return ""

def copy(inputs):
    """A tree's only file, twice."""
    (source,) = inputs.tree(inputs.arguments["tree"]).iterdir()
    (inputs.out / "twice").write_bytes(2 * source.read_bytes())
    return {"pid": os.getpid()}

def die(inputs):
    with open(inputs.arguments["log"], "a") as log:
        log.write("x")
    os.kill(os.getpid(), 9)
'''

SCRIPT = """
import json, sys
from pathlib import Path
from edgenext.system.jobs.cluster import ClusterExecutor
from edgenext.system.jobs.job import Job, WorkerTerms
from edgenext.system.trees import TreeStore

address, folder = sys.argv[1], Path(sys.argv[2])
store = TreeStore(folder / "files")
digest = store.add({"a": b"abc"})
executor = ClusterExecutor(address, store, [])
executor.agree(WorkerTerms("cluster_functions:check", {}))
sent = []
submit = executor._client.submit
executor._client.submit = lambda *a, **k: (sent.append(k["key"]), submit(*a, **k))[1]
jobs = [Job(f"copy{i}", "cluster_functions:copy", {"tree": digest}, (digest,)) for i in (1, 2)]
jobs.append(Job("die", "cluster_functions:die", {"log": str(folder / "log")}))
outcomes = []
for job in jobs:
    executor.submit(job)
    outcomes.append(executor.next())
executor.close()
print(json.dumps({
    "files": [{name: data.decode() for name, data in o.files.items()} for o in outcomes],
    "errors": [o.error and o.error.message for o in outcomes],
    "sent": sent,
}))
"""


@pytest.fixture
def dask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "cluster_functions.py").write_text(FUNCTIONS)
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ['PYTHONPATH']}")
    with cluster(tmp_path / "dask") as running:
        yield running


@pytest.mark.slow
def test_trees_are_sent_once_and_a_job_that_kills_its_workers_fails(
    dask: Cluster, tmp_path: Path
) -> None:
    dask.worker("one", EDGENEXT_CACHE=str(tmp_path / "cache"))
    for name in ("two", "three", "four"):
        dask.worker(name, EDGENEXT_CACHE=str(tmp_path / "cache"))
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, dask.address, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["files"] == [{"twice": "abcabc"}, {"twice": "abcabc"}, {}]
    # what is sent once is in the cache that these workers share
    assert answer["sent"][:3] == ["edgenext-copy1", "edgenext-copy1-sent", "edgenext-copy2"]
    assert answer["errors"] == [None, None, "every process that began it died"]
    assert (tmp_path / "log").read_text() == "xxxx"
