"""Sweeps: the points of a grid, what was measured of each, and the records they are made of."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgenext.schema.base import Evidence, Record
from edgenext.schema.latency import BenchReport

PointStatus = Literal["measured", "refused", "failed"]
"""Of a point: a target refuses it, or a job of it failed; else it is measured."""


class SweepPoint(Record):
    """One point of a sweep's grid.

    `size` is None as the weights were evaluated; `device` is empty where nothing is timed.
    """

    model: str
    size: int | None = None
    scheme: str
    target: str
    device: str = ""
    seed: int = 0


class WorkedOn(Record):
    """Where and when a job was done: seconds since 1970 by the worker's clock.

    Between the two it held its lease.
    """

    worker: str
    started: float
    ended: float


class TreeFile(Record):
    """A file in a tree, whose sha256 is `tree`."""

    tree: str
    file: str


class MadeArtifact(TreeFile):
    """An artifact that was made, in a tree with its manifest."""

    worked: WorkedOn

    @property
    def tree_file(self) -> TreeFile:
        """Where it is, without how it was made."""
        return TreeFile(tree=self.tree, file=self.file)


class ShardScores(Record):
    """What a file gave for each image of a shard, in order.

    `ranks` are the numbers of classes ranked before an image's own, `first` the classes ranked
    first, `losses` cross-entropies in nats. `logits_sha256` is of the logits, little-endian
    float32; those of a base are kept in a tree. `signal`, `noise`, `cosine` and `kl` are the
    fidelity of each image's logits to the base's, as in `Comparison`; empty of a base.
    """

    ranks: tuple[int, ...]
    first: tuple[int, ...]
    losses: tuple[float, ...]
    logits_sha256: str
    runtime: str
    evidence: Evidence
    fallback: str = ""
    signal: tuple[float, ...] = ()
    noise: tuple[float, ...] = ()
    cosine: tuple[float, ...] = ()
    kl: tuple[float, ...] = ()
    tree: str = ""
    """The sha256 of the tree with a base's logits; empty of other files."""
    worked: WorkedOn


class TimedPair(Record):
    """The latency of a file beside its base, in one benchmark."""

    report: BenchReport
    worked: WorkedOn


class SweepRow(Record):
    """A row of a sweep's table; what was not measured is None.

    `error` and `exit_code` are those of a point that was refused or failed. The base of `drop`,
    `agreement`, `sqnr_db`, `cosine`, `kl` and `speed` is the float file of the same model, size
    and target. `n` images have the digest `images`; `logits_sha256` is of the hashes of all
    shards' logits. `parity_db` is the SQNR against the network on a few images when the file was
    made. `worker`, `started` and `ended` are of the timing, in seconds since 1970.
    """

    model: str
    size: int | None
    scheme: str
    target: str
    device: str
    seed: int
    status: PointStatus
    error: str | None = None
    exit_code: int | None = None
    path: str | None = None
    """Of the artifact, relative to the sweep's folder."""
    format: str | None = None
    sha256: str | None = None
    size_bytes: int | None = None
    parity_db: float | None = None
    images: str | None = None
    n: int | None = None
    top1: float | None = None
    top5: float | None = None
    loss: float | None = None
    drop: float | None = None
    drop_low: float | None = None
    drop_high: float | None = None
    lost: int | None = None
    gained: int | None = None
    agreement: float | None = None
    sqnr_db: float | None = None
    cosine: float | None = None
    kl: float | None = None
    logits_sha256: str | None = None
    runtime: str | None = None
    evidence: str | None = None
    p50_ms: float | None = None
    p90_ms: float | None = None
    speed: float | None = None
    speed_low: float | None = None
    speed_high: float | None = None
    valid: bool | None = None
    reasons: str | None = None
    cpu: str | None = None
    worker: str | None = None
    started: float | None = None
    ended: float | None = None


TIMED_COLUMNS = (
    *("p50_ms", "p90_ms", "speed", "speed_low", "speed_high", "valid", "reasons"),
    *("cpu", "worker", "started", "ended"),
)
"""The columns of a row that are of its timing: all others are the same in every sweep."""


class SweepReport(Record):
    """`sweep --json`: a row for each point, how many jobs were done now, and how many before."""

    schema_version: int = 1
    rows: tuple[SweepRow, ...]
    done: int
    reused: int
    files: tuple[str, ...] = Field(default=())
    """The tables that were written."""
