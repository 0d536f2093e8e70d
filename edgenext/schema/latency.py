"""Latencies, and where they were measured."""

from __future__ import annotations

from edgenext.schema.base import Evidence, Record


class Latency(Record):
    """Percentiles of single inferences in milliseconds."""

    min: float
    mean: float
    p50: float
    p90: float
    p99: float


class BenchResult(Record):
    """One artifact's latency. `peak_rss_mb` is the process's peak minus the empty runtime's."""

    artifact: str
    runtime: str
    device: str
    evidence: Evidence
    threads: int
    batch: int
    latency_ms: Latency
    n: int
    load_ms: float
    first_ms: float
    peak_rss_mb: float
    valid: bool
    reasons: tuple[str, ...]
    sha256: str = ""
    scheme: str = ""
    form: str = ""
    size: str = ""
    samples_ms: tuple[float, ...] = ()
    rounds: tuple[int, ...] = ()
    """How many of the samples, in order, belong to each interleaved round."""
    affinity: tuple[int, ...] = ()
    """The logical CPUs the process stayed on; empty where it could not be pinned."""
    warmup: int = 0
    """Inferences before the first sample, beside the very first."""


class Ratio(Record):
    """Latency of `a` over latency of `b`: the median of per-round ratios, bootstrap interval."""

    a: str
    b: str
    median: float
    ci95: tuple[float, float]
    valid: bool = True


class Environment(Record):
    """The machine and software a number was made with."""

    cpu: str
    isa: tuple[str, ...]
    """INT8-relevant instruction sets, best last: avx2, avx_vnni, avx512f, avx512_vnni, amx_int8."""
    cores: int
    memory_gb: float
    os: str
    python: str
    packages: dict[str, str]


class BenchReport(Record):
    """`bench --json`."""

    results: tuple[BenchResult, ...]
    ratios: tuple[Ratio, ...]
    environment: Environment | None = None


class Advice(Record):
    """What to expect of INT8 on a CPU, before anything is measured there.

    `speed` says how many times the speed of the plain FP32 export, `low` and `high` the same in
    numbers, None where there is no bound. `measured` says where the figures come from; empty, they
    are only expected.
    """

    isa: str
    speed: str
    low: float | None
    high: float | None
    measured: str
    reason: str
    recommendation: str
