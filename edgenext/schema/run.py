"""Runs with their twins and verdicts, and searches."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from edgenext.schema.accuracy import CompareReport, Comparison, EvalReport
from edgenext.schema.artifact import Clipping, ExportResult
from edgenext.schema.base import EvalTransform, Record, SubsetInfo
from edgenext.schema.latency import BenchReport, Environment

Decision = Literal["SHIP", "DO NOT SHIP", "NOT DECIDED"]
"""Of the INT8 file that a run judged."""


class TwinRow(Record):
    """An engine's INT8 file of the network or its stressed twin, compared with the plain export."""

    engine: str
    on: Literal["network", "twin"]
    comparison: Comparison


class TwinReport(Record):
    """Every engine on a network and on its stressed twin; both compute the same function.

    `same_file` is whether this package's engine wrote identical files for both.
    """

    seed: int
    strength: float
    n: int
    same_file: bool
    rows: tuple[TwinRow, ...]


class RunSummary(Record):
    """`run.json` in a run folder: everything that its report is written from.

    The base of `compare` is the plain FP32 export; artifacts have the same names in `artifacts`
    (file stems), `eval`, `compare` and `bench`; their paths are relative to the folder. What every
    artifact answered for each evaluation image is beside it in `predictions.npz`.
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
    """If the run trained the network: epochs, seconds, top1."""
    command: str = ""
    seconds: dict[str, float] = Field(default_factory=dict)
    """Wall time of each stage."""
    twin: TwinReport | None = None
    """If the run stressed the network."""
    kept_float: dict[str, str] = Field(default_factory=dict)
    """Sites of this package's INT8 file that stayed in float → the reason."""
    clipping: dict[str, Clipping] = Field(default_factory=dict)
    """Of this package's INT8 file: tensor → how its range clips, where it does."""
    devices: tuple[BenchReport, ...] = ()
    """Measurements of the run's files on devices: `devices/*.json` of its folder."""
    num_classes: int | None = None
    """None in runs of earlier versions."""


class EvaluatedImages(Record):
    """`images.json` in a run folder: the images behind `predictions.npz`, in its order.

    `names` are their paths in the data set, `hashes` the first 16 hex digits of the sha256 of each
    file, `classes` what is shown of each class, by index. `transform` is how they became inputs.
    """

    names: tuple[str, ...]
    hashes: tuple[str, ...]
    classes: tuple[str, ...]
    transform: EvalTransform


class Verdict(Record):
    """`verdict` in report.json: whether INT8 paid, in a sentence and with its reasons.

    `pays` is None if the run cannot tell. `artifact` is the INT8 file that was judged, `base` the
    file it is compared with, `rival` the fastest floating-point file whose own drop is within the
    budget, `budget` in points. `images_needed` is how many images would show that the drop is
    within the budget, if more are needed. `recommended` is the file to ship: INT8 if it pays, else
    the rival, None if the run cannot tell. `decision` says the same in capitals; `lines` are what
    the report says first: the decision with its file, the speed, the accuracy, and what to do
    next.
    """

    sentence: str
    pays: bool | None
    reasons: tuple[str, ...]
    budget: float
    artifact: str | None = None
    base: str | None = None
    rival: str | None = None
    images_needed: int | None = None
    recommended: str | None = None
    decision: Decision = "NOT DECIDED"
    lines: tuple[str, ...] = ()


class Candidate(Record):
    """An artifact that a search tried, measured on the images used for choosing.

    `speed` is relative to the float file of the same search, from interleaved rounds, `speed_ci95`
    its interval, which includes the noise floor; `valid` is whether its timing is. `meets` is
    whether the upper end of the drop's interval is below the budget: the float file itself has no
    drop, and meets every budget. `front` is whether no other candidate is both cheaper and closer
    to the float network; where the objective is latency, only valid timings count.
    """

    comparison: Comparison
    size_bytes: int
    p50_ms: float
    speed: float
    valid: bool
    meets: bool
    front: bool = False
    speed_ci95: tuple[float, float] | None = None
    kept_float: dict[str, str] = Field(default_factory=dict)


class SearchReport(Record):
    """`quantize --max-drop --json`: every candidate, the chosen one, and its drop on new images.

    `final` is measured on images not used for choosing; `met` is about it. `images_needed` is how
    many such images would show that the budget is met if lost and gained images keep their shares,
    None if the measured drop itself is not below the budget. `least_images` is how many images in
    each half can show the budget for a file that changes no answer, None if no number can;
    `expected_images` the same for one that loses and gains 0.5 % each. `noise_floor` is that of the
    latencies, as in `NoiseFloor`. `path` is that of the chosen file, relative to the folder of
    `-o`.
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
    noise_floor: float | None = None
    least_images: int | None = None
    expected_images: int | None = None
    sentence: str
