"""Latencies, and where they were measured."""

from __future__ import annotations

import math

from pydantic import Field

from edgenext.schema.accuracy import CompareReport, EvalReport
from edgenext.schema.base import Evidence, Record
from edgenext.schema.device import DeviceFacts, DeviceKind, Telemetry


class Latency(Record):
    """Percentiles of single inferences in milliseconds."""

    min: float
    mean: float
    p50: float
    p90: float
    p99: float


class BenchResult(Record):
    """One artifact's latency. `peak_rss_mb` is the process's peak minus the empty runtime's.

    `noisy`: only the machine's state speaks against the latency, so another try may be valid.

    Times are None where they would say nothing, under emulation. `unit_asked` is the compute unit
    that was asked for, `unit` the one that most of it ran on, `units` operators by unit and type,
    where the runtime tells.
    """

    artifact: str
    runtime: str
    device: str
    evidence: Evidence
    threads: int
    batch: int
    latency_ms: Latency | None
    n: int
    load_ms: float | None
    first_ms: float | None
    peak_rss_mb: float
    valid: bool
    reasons: tuple[str, ...]
    noisy: bool = False
    sha256: str = ""
    scheme: str = ""
    form: str = ""
    size: str = ""
    samples_ms: tuple[float, ...] = ()
    rounds: tuple[int, ...] = ()
    """How many of the samples, in order, belong to each interleaved round."""
    arch: str = ""
    affinity: tuple[int, ...] = ()
    """The logical CPUs the process stayed on; empty where it could not be pinned."""
    warmup: int = 0
    """Inferences before the first sample, beside the very first."""
    unit: str = ""
    unit_asked: str = ""
    units: dict[str, dict[str, int]] = Field(default_factory=dict)
    partitions: int | None = None
    telemetry: Telemetry | None = None
    round_ends_s: tuple[float, ...] = ()
    """When each round ended, in seconds from the first: the time axis of a sustained run."""
    sustained: Sustained | None = None

    @property
    def p50_ms(self) -> float:
        """The median latency in ms; not a number where no time was taken."""
        return self.latency_ms.p50 if self.latency_ms else math.nan


class Sustained(Record):
    """What minutes without a pause came to: medians in ms of the first and the last third.

    `drift` is the last over the first, less one; `latency_ms` of the result is the last third's.
    """

    seconds: float
    first_third_ms: float
    last_third_ms: float
    drift: float


class Ratio(Record):
    """Latency of `a` over latency of `b`: the median of per-round ratios, bootstrap interval."""

    a: str
    b: str
    median: float
    ci95: tuple[float, float]
    valid: bool = True


class Published(Record):
    """Somebody else's latency in ms, on a device of a kind; evidence `published`."""

    kind: DeviceKind
    device: str
    arch: str
    size: str
    ms: float
    source: str


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
    """`bench --json`.

    `environment` is that of the machine measured on. On a device, `device` is what it said of
    itself before, `after` afterwards; with images, `eval` and `compare` are the same files'
    accuracy there, the first artifact being the base.
    """

    results: tuple[BenchResult, ...]
    ratios: tuple[Ratio, ...]
    environment: Environment | None = None
    device: DeviceFacts | None = None
    after: DeviceFacts | None = None
    eval: EvalReport | None = None
    compare: CompareReport | None = None
    published: tuple[Published, ...] = ()


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
