"""Latencies, and the machines they were measured on."""

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
    """One artifact's latency; times are None under emulation, where they are meaningless.

    `peak_rss_mb` is the process's peak minus the empty runtime's. `reasons` say why the latency is
    not `valid`; it is `noisy` if all of them are about the machine's state, so that another try may
    be valid. `unit_asked` is the requested compute unit, `unit` the one that most operators ran on,
    `units` the operators by unit and type, if the runtime reports them.
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
    """The number of samples, in order, of each interleaved round."""
    arch: str = ""
    affinity: tuple[int, ...] = ()
    """The logical CPUs the process was pinned to; empty if it could not be."""
    warmup: int = 0
    """Inferences before the first sample, without the first inference."""
    unit: str = ""
    unit_asked: str = ""
    units: dict[str, dict[str, int]] = Field(default_factory=dict)
    partitions: int | None = None
    precision_asked: str = ""
    """The precision that the file asks for in its float operators, such as `bf16`; empty if its
    runtime does not tell."""
    precision: str = ""
    """The precision in which the runtime says that it computes them."""
    precision_emulated: bool | None = None
    """Whether the CPU has no instructions for that precision; None if unknown."""
    telemetry: Telemetry | None = None
    round_ends_s: tuple[float, ...] = ()
    """When each round ended, in seconds from the first: the time axis of a sustained run."""
    sustained: Sustained | None = None

    @property
    def p50_ms(self) -> float:
        """The median latency in ms; NaN if no time was measured."""
        return self.latency_ms.p50 if self.latency_ms else math.nan

    @property
    def name(self) -> str:
        """The artifact's name."""
        return self.artifact


class Sustained(Record):
    """A run of several minutes without a pause: medians in ms of its first and last third.

    `drift` is last / first − 1; the result's `latency_ms` is that of the last third.
    """

    seconds: float
    first_third_ms: float
    last_third_ms: float
    drift: float


class Ratio(Record):
    """Latency of `a` / latency of `b`: the median of per-round ratios with its 95 % interval.

    `ci95` is the bootstrap interval over the rounds (`rounds_ci95`) widened by the noise floor of
    the benchmark. `distinguishable` is whether `ci95` excludes 1. Both are None in results of
    earlier versions, whose `ci95` is over the rounds alone.
    """

    a: str
    b: str
    median: float
    ci95: tuple[float, float]
    valid: bool = True
    rounds_ci95: tuple[float, float] | None = None
    distinguishable: bool | None = None


class NoiseFloor(Record):
    """The first artifact against itself (A/A): a second process took turns with all the others.

    `ratio` is the latency of the second process / that of the first, the median of per-round
    ratios, `ci95` its bootstrap interval. `floor` is how far `ci95` reaches from 1, as a factor
    less one: 0.02 means that a ratio from 1/1.02 to 1.02 says nothing. `valid` and `reasons` are
    those of the second process's latency.
    """

    artifact: str
    ratio: float
    ci95: tuple[float, float]
    floor: float
    valid: bool
    reasons: tuple[str, ...] = ()
    noisy: bool = False
    samples_ms: tuple[float, ...] = ()
    rounds: tuple[int, ...] = ()


class Published(Record):
    """A latency in ms that others published, on a device of a kind; evidence `published`."""

    kind: DeviceKind
    device: str
    arch: str
    size: str
    ms: float
    source: str


class Environment(Record):
    """The machine and the software that a number was measured with."""

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

    `environment` is the machine measured on. For a device, `device` are its properties before the
    measurement and `after` those afterwards; with images, `eval` and `compare` are the accuracy of
    the same files there, with the first artifact as the base.
    """

    results: tuple[BenchResult, ...]
    ratios: tuple[Ratio, ...]
    noise: NoiseFloor | None = None
    """None if the base was not measured twice, as in results of earlier versions."""
    environment: Environment | None = None
    device: DeviceFacts | None = None
    after: DeviceFacts | None = None
    eval: EvalReport | None = None
    compare: CompareReport | None = None
    published: tuple[Published, ...] = ()
    report_sha256: str = ""
    """In a file that `bench -o` wrote: the sha256 of that file with this value empty."""

    @property
    def speeds(self) -> dict[str, Ratio]:
        """How many times as fast as the first artifact each of the others is, by its name."""
        first = self.results[0].artifact
        return {ratio.b: ratio for ratio in self.ratios if ratio.a == first}


class Advice(Record):
    """The expected speed of INT8 on a CPU, before anything is measured there.

    `speed` is relative to the plain FP32 export, in words; `low` and `high` are its bounds, None if
    there is none. `measured` says where the figures come from; if empty, they were not measured.
    """

    isa: str
    speed: str
    low: float | None
    high: float | None
    measured: str
    reason: str
    recommendation: str
