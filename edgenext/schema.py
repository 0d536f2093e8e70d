"""Every JSON that is written or read, in one place: the vocabulary of the project.

The models behind a `--json` option are stable: fields are added, never renamed or removed.
Units are in the names or docstrings: `*_ms` milliseconds, `*_mb` MiB, accuracies in percent,
drops in points.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Evidence = Literal["device", "host", "simulator", "emulated", "compiler", "estimate", "published"]
"""What stands behind a number; see docs/measuring.md."""


class Record(BaseModel):
    """Base of all models: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class EvalTransform(Record):
    """How an image becomes an input: short side to int(size / crop_pct), centre crop, normalise."""

    size: int = 256
    crop_pct: float = 0.875
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD


class ModelCard(Record):
    """One row of `edgenext models`: a published checkpoint and its published figures.

    `params` and `macs_256` (multiply-adds of one 256 px image) are exact counts of the
    reference network; `top1` is the published ImageNet-1k accuracy in percent.
    """

    name: str
    arch: str
    params: int
    macs_256: int
    top1: float
    eval: EvalTransform


class TensorSpec(Record):
    """An input or output of an artifact. A dimension of -1 is free."""

    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "float16", "uint8", "int8", "int16"]
    scale: float | None = None
    zero_point: int | None = None
    """Of integers that stand for numbers: value = scale · (stored − zero_point)."""

    @property
    def channels_last(self) -> bool:
        """Whether images lie as N×H×W×3."""
        return len(self.shape) == 4 and self.shape[3] == 3


class SubsetInfo(Record):
    """Which images a number was made on.

    `sha256` hashes the ordered image hashes, labels and transform; `n_total` is the size of the
    data set the n images were drawn from (class-stratified, with `seed`) when `n < n_total`.
    """

    data: str
    split: str | None = None
    sha256: str
    n: int
    n_total: int
    seed: int
    corrupt: tuple[str, ...] = ()
    """Names of images that could not be decoded and are not counted in n."""


class Calibration(Record):
    """The images INT8 ranges were measured on. `images` are 16-hex-digit content hashes."""

    subset: SubsetInfo
    images: tuple[str, ...]


class Parity(Record):
    """Agreement of an exported file with the PyTorch network on n images.

    `max_abs` is the largest difference of a logit, `sqnr_db` the centred logits' SQNR,
    `agreement` the share of equal top-1 in percent, `stages` the SQNR after the stem and
    each stage in dB.
    """

    n: int
    max_abs: float
    sqnr_db: float
    agreement: float
    stages: dict[str, float] = Field(default_factory=dict)


class Conversion(Record):
    """How a file was converted from its ONNX deployment graph.

    `seconds` and `peak_mb` (MiB) are those of the converter's process. `operators` counts the
    file's operators by type, constants apart; `partitions` is how many pieces the runtime's
    accelerated kernels take the graph in, None where nobody can tell.
    """

    converter: str
    seconds: float
    peak_mb: float
    operators: dict[str, int] = Field(default_factory=dict)
    partitions: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def transposes(self) -> int:
        """Operators that move data for the layout's sake."""
        return sum(n for op, n in self.operators.items() if op.lower() == "transpose")


class Manifest(Record):
    """What stands beside every artifact: how it was made and how to feed it."""

    schema_version: int = 1
    file: str
    format: str
    scheme: str
    """`fp32` or a quantization scheme such as `w8a8-static`."""
    form: str
    """How the graph is laid out: `naive` for the plain export, else a deployment form."""
    target: str
    arch: str
    num_classes: int
    labels: tuple[str, ...] | None = None
    eval: EvalTransform
    input: TensorSpec
    outputs: tuple[TensorSpec, ...]
    opset: int | None = None
    """Of an ONNX file."""
    sha256: str
    size_bytes: int
    source: dict[str, str]
    """Name and sha256 of what the artifact was made from: `weights`, `artifact`."""
    recipe: dict[str, object] | None = None
    calibration: Calibration | None = None
    parity: Parity | None = None
    tools: dict[str, str]
    engine: str = ""
    """Who quantized it; empty for a float file."""
    kept_float: dict[str, str] = Field(default_factory=dict)
    """Sites of a quantized file that stayed in float, each with its reason."""
    warnings: tuple[str, ...] = ()
    """What spoke against the calibration, with the evidence."""
    conversion: Conversion | None = None
    """How a file that is no ONNX was made."""
    sites: dict[str, str] = Field(default_factory=dict)
    """Site of the network → the tensor of the file that holds its output."""


class ExportResult(Record):
    """`export --json` and `quantize --json`."""

    artifact: str
    manifest: str
    format: str
    scheme: str
    sha256: str
    size_bytes: int
    parity: Parity | None
    target: str = "cpu-onnxruntime"
    form: str = ""
    engine: str = ""
    warnings: tuple[str, ...] = ()
    conversion: Conversion | None = None


class EvalResult(Record):
    """One row of `eval --json`: percent, mean cross-entropy, n images."""

    artifact: str
    top1: float
    top5: float
    loss: float
    n: int
    sha256: str = ""
    scheme: str = ""
    runtime: str = ""
    evidence: Evidence = "host"
    data: SubsetInfo | None = None


class EvalReport(Record):
    """`eval --json`."""

    results: tuple[EvalResult, ...]


class Drop(Record):
    """A paired drop in points: 100·(lost − gained)/n with Tango's 95 % interval.

    `lost` counts right→wrong, `gained` wrong→right; `p_value` is McNemar's exact test.
    """

    points: float
    ci95: tuple[float, float]
    lost: int
    gained: int
    p_value: float


class Accuracy(Record):
    """Top-1 and top-5 in percent."""

    top1: float
    top5: float
    artifact: str = ""
    sha256: str = ""


class Comparison(Record):
    """One candidate against the base, on the same images.

    `agreement` is the share of equal top-1 in percent, `sqnr_db` that of the per-image centred
    logits, `kl` the mean KL divergence of the softmax in nats.
    """

    artifact: str
    top1: float
    top5: float
    drop: Drop
    agreement: float
    sqnr_db: float
    cosine: float
    kl: float
    sha256: str = ""
    scheme: str = ""


class CompareReport(Record):
    """`compare --json`."""

    n: int
    base: Accuracy
    others: tuple[Comparison, ...]
    data: SubsetInfo | None = None
    evidence: Evidence = "host"


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


class TwinRow(Record):
    """One engine's INT8 file, of the network or of its stressed twin, against the plain export."""

    engine: str
    on: Literal["network", "twin"]
    comparison: Comparison


class TwinReport(Record):
    """Every engine on a network and on its stressed twin; both are the same function.

    `same_file` says that our engine gave both the very same file.
    """

    seed: int
    strength: float
    n: int
    same_file: bool
    rows: tuple[TwinRow, ...]


class RunSummary(Record):
    """`run.json` in a run folder: everything a report is made from.

    The base of `compare` is the plain FP32 export; artifacts are called by the same names in
    `artifacts` (file stems), `eval`, `compare` and `bench`. Logits of every artifact on the
    evaluation images stand beside it in `logits.npz` (name → N×K, and `labels`).
    """

    schema_version: int = 1
    model: str
    arch: str
    params: int
    weights: str
    weights_sha256: str
    artifacts: tuple[ExportResult, ...]
    eval: EvalReport
    compare: CompareReport
    bench: BenchReport
    calibration: SubsetInfo | None = None
    trained: dict[str, float] | None = None
    """When the run trained the network itself: epochs, seconds, top1."""
    command: str = ""
    seconds: dict[str, float] = Field(default_factory=dict)
    """Wall time of each stage."""
    twin: TwinReport | None = None
    """When the run stressed the network."""
    kept_float: dict[str, str] = Field(default_factory=dict)
    """Sites of our INT8 file that stayed in float, each with its reason."""


class Candidate(Record):
    """An artifact a search has tried, measured on the images it chose on.

    `speed` is against the float file of the same search, from interleaved rounds; `meets` says
    whether the upper end of the drop's interval is under the budget; `front` that no other
    candidate is both cheaper and nearer to the float network.
    """

    comparison: Comparison
    size_bytes: int
    p50_ms: float
    speed: float
    valid: bool
    meets: bool
    front: bool = False
    kept_float: dict[str, str] = Field(default_factory=dict)


class SearchReport(Record):
    """`quantize --max-drop --json`: every candidate, the chosen one, and its drop on new images.

    `final` is measured on images that chose nothing; `met` is about it. `images_needed` is how
    many of them would show that the budget is met, None if none would.
    """

    model: str
    target: str
    budget: float
    objective: str
    candidates: tuple[Candidate, ...]
    chosen: str
    path: str
    final: Comparison
    met: bool
    images_needed: int | None
    choosing: SubsetInfo
    reporting: SubsetInfo
    environment: Environment | None = None
    sentence: str


class SiteEffect(Record):
    """Fidelity of a quantized graph to its float network: dB, nats, percent.

    `top1` is None where there were no labels.
    """

    sqnr_db: float
    kl: float
    agreement: float
    top1: float | None = None


class SiteRow(Record):
    """One site of a network: quantized alone, and the recipe with this site changed.

    `changed` is the recipe with the site left in float or, where the recipe leaves it in float
    (`kept` says why), with the site quantized too.
    """

    site: str
    kind: str
    kept: str
    only: SiteEffect
    changed: SiteEffect


class SensitivityReport(Record):
    """`sensitivity --json`: every site in graph order; `recipe` is the recipe as it is."""

    model: str
    sha256: str
    target: str
    scheme: str
    n: int
    recipe: SiteEffect
    rows: tuple[SiteRow, ...]
    images: SubsetInfo
    calibration: SubsetInfo


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


class SiteDifference(Record):
    """How near one site's output in a file is to the same site's in another, over all images.

    `sqnr_db` is within ±200: 200 where both are equal, −200 where a value is no number. `loss_db`
    is what is lost since the site before, None at the first; `kind` is empty where neither file
    tells it.
    """

    site: str
    kind: str
    sqnr_db: float
    loss_db: float | None


class DiffReport(Record):
    """`diff --json`: where the file `b` parts from the file `a`, sites in the network's order.

    `first` is the first site below `threshold_db`, empty if none is; `most` are those that add most
    noise for their signal. `logits_db` is the SQNR of the centred logits, `agreement` the percent
    of equal top-1, `max_abs` the largest difference of a logit, None where one is no number.
    """

    a: str
    b: str
    sha256: tuple[str, str]
    runtimes: tuple[str, str]
    n: int
    threshold_db: float
    equal: bool
    first: str
    most: tuple[str, ...]
    sites: tuple[SiteDifference, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    unlike: tuple[str, ...]
    """Sites whose tensors have not as many values in the one as in the other."""
    untraced: tuple[str, ...]
    """Those of the two whose runtime shows no tensors: the logits alone are compared."""
    fitted: Literal["", "scale", "scale and offset"]
    """What was undone in every channel, because the files differ in it and compute the same."""
    logits_db: float
    agreement: float
    max_abs: float | None
    images: SubsetInfo
    sentence: str
