"""What a user can choose: the options that commands and functions share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from edgenext.errors import unknown_name
from edgenext.schema import Division, EvalTransform, Exif

DEFAULT_TARGET = "cpu-onnxruntime"
DEFAULT_SCHEME = "w8a8-static"
DEFAULT_FORMAT = "onnx"
"""The format of the deployment graph itself."""
DEFAULT_OPSET = 20
"""The first opset with Gelu; LayerNormalization came with 17."""
DEFAULT_CALIBRATION = 128
"""Calibration images, where there are so many."""
DEFAULT_MAX_DROP = 1.0
"""Points of top-1 that INT8 may cost."""
ENGINE = "edgenext"
"""This package's own quantizer, beside the baselines it is compared with."""

OptionValues = Mapping[str, str | bool]
"""Options of a format by name; see its `format.toml`."""


@dataclass(frozen=True)
class ModelOptions:
    """The options of every command that takes a MODEL; see `load_checkpoint`."""

    weights: Path | None = None
    random_weights: bool = False
    seed: int = 0
    num_classes: int | None = None
    reset_head: bool = False
    size: int | None = None
    crop_pct: float | None = None
    exif: Exif | None = None
    labels: Path | None = None


@dataclass(frozen=True)
class DataOptions:
    """Images to measure on: a folder or zip of class folders, or `digits`.

    `limit` takes a class-stratified subset of so many images, drawn with `seed`; with `up_to` all
    images where there are fewer. `exif` says whether images are turned as their EXIF orientation
    says; None: as the network was trained. `division` divides data without split folders; None: as
    it was divided when the network was trained on it, if it was.
    """

    data: str | Path
    limit: int | None = None
    seed: int = 0
    exif: Exif | None = None
    up_to: bool = False
    division: Division | None = None

    @staticmethod
    def of(data: DataOptions | str | Path) -> DataOptions:
        """The options, where only the data itself was given too."""
        return data if isinstance(data, DataOptions) else DataOptions(data)


@dataclass(frozen=True)
class ExportOptions:
    """How a float graph is made, and in which format it is written.

    What is empty follows from the format and its target: see `export.settings.resolve`. A `batch`
    of None is any number; `uint8_input` takes N×H×W×3 pixels with the preprocessing inside;
    `features_only` gives the four stage outputs instead of logits. `format_options` are the
    format's own, by name.
    """

    form: str = ""
    target: str = ""
    batch: int | None = 1
    opset: int | None = None
    uint8_input: bool = False
    features_only: bool = False
    format: str = DEFAULT_FORMAT
    format_options: OptionValues = field(default_factory=dict)


@dataclass(frozen=True)
class QuantizeOptions:
    """How a model is quantized: see `edgenext quantize`.

    `engine` is this package's own quantizer or a baseline; `n` images of `calib` are calibrated
    on, drawn with `seed`; None: `DEFAULT_CALIBRATION`, or all where there are fewer. `division` is
    as in `DataOptions`.
    """

    scheme: str = DEFAULT_SCHEME
    target: str = DEFAULT_TARGET
    engine: str = ENGINE
    recipe: Path | None = None
    calib: str | Path = ""
    n: int | None = None
    seed: int = 0
    exclude: Sequence[str] = ()
    """Content hashes of images that must not be used: those of the evaluation set."""
    division: Division | None = None


@dataclass(frozen=True)
class BenchOptions:
    """How artifacts are measured: see `edgenext bench`.

    `threads` inside an operator, `batch` images an inference, `rounds` bursts of each artifact,
    30 at least to be valid. `unit` is a device's compute unit, empty for the one that its kind is
    there for, and `delegate` the library of its NPU there. `sustained_s` lets rounds go on for so
    long; `limit_s` is the longest that a device may take. `seed` is that of the timed input and
    of the intervals.
    """

    threads: int = 1
    batch: int = 1
    rounds: int = 30
    unit: str = ""
    delegate: str = ""
    lock_clocks: bool = False
    sustained_s: float = 0.0
    limit_s: float = 7200.0
    seed: int = 0


@dataclass(frozen=True)
class CiOptions:
    """What a command does for continuous integration: see docs/ci.md.

    `fail_if` is a condition such as `drop > 0.5 or undecided`; `junit`, `csv` and `parquet` are
    files to write, `step_summary` a Markdown file that a summary is added to.
    """

    fail_if: str = ""
    junit: Path | None = None
    csv: Path | None = None
    parquet: Path | None = None
    step_summary: Path | None = None


def with_exif(transform: EvalTransform, exif: Exif | None) -> EvalTransform:
    """A transform that treats EXIF orientations so; unchanged for None.

    Raises:
        UsageError: neither `ignore` nor `apply`.
    """
    if exif is None:
        return transform
    if exif not in get_args(Exif):
        raise unknown_name("value of --exif", exif, get_args(Exif))
    return transform.model_copy(update={"exif": exif})


MODEL, EXPORT, BENCH = ModelOptions(), ExportOptions(), BenchOptions()
"""Defaults."""
