"""The jobs of a sweep that measure files: evaluate one on some images, time it beside its base."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from edgenext.benchmark.retry import quietest
from edgenext.commands.bench import bench
from edgenext.commands.evaluate import logits_of
from edgenext.commands.sweep_images import ListedImages
from edgenext.commands.sweep_shards import shard_rows
from edgenext.formats.artifact import Artifact, open_artifact
from edgenext.formats.isolated_session import open_isolated
from edgenext.formats.session import Session
from edgenext.options import BenchOptions
from edgenext.schema import LOGITS, Record, TreeFile
from edgenext.system.arrays import read_arrays, write_arrays
from edgenext.system.jobs.job import JobInputs

EVALUATE, TIME = (f"{__name__}:{name}" for name in ("evaluate", "time"))
"""The functions of the jobs, by name."""
KEPT = "logits.npz"
"""The file of a base's logits in their tree."""


class EvaluateRequest(Record):
    """A file to evaluate, the images, and the logits of its base; a base's own are kept."""

    artifact: TreeFile
    base: TreeFile | None
    images: ListedImages


class TimeRequest(Record):
    """Files to time together; the first is the base."""

    artifacts: tuple[TreeFile, ...]
    device: str
    options: BenchOptions


def evaluate(inputs: JobInputs) -> dict[str, Any]:
    """Evaluate a file: the fields of `ShardScores`.

    Raises:
        DataError: the images are not here.
        RuntimeFailedError: the runtime refuses the file or a batch.
    """
    request = EvaluateRequest.model_validate(inputs.arguments)
    folder = inputs.tree(request.artifact.tree)
    artifact, session = _session(folder / request.artifact.file)
    images = request.images.load()
    values, base = logits_of(session, images), None
    if request.base:
        path = inputs.tree(request.base.tree) / request.base.file
        base = read_arrays(path)[LOGITS]
    else:
        write_arrays(inputs.out / KEPT, {LOGITS: values})
    rows = shard_rows(artifact.name, values, images.labels, base)
    facts = {name: getattr(session, name) for name in ("runtime", "evidence", "fallback")}
    return rows | facts


def time(inputs: JobInputs) -> dict[str, Any]:
    """Time files: the fields of `TimedPair`. A noisy benchmark is repeated, a few times at most.

    Raises:
        EdgenextError: whatever `bench` raises.
    """
    request = TimeRequest.model_validate(inputs.arguments)
    paths = [inputs.tree(artifact.tree) / artifact.file for artifact in request.artifacts]
    report = quietest(partial(bench, paths, request.device, bench_options=request.options))
    return {"report": report.model_dump(mode="json")}


@lru_cache(maxsize=2)  # a file has many shards
def _session(path: Path) -> tuple[Artifact, Session]:
    artifact = open_artifact(path)
    return artifact, open_isolated(artifact, 1)
