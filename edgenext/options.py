"""What a user can choose: the options that commands and functions share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from edgenext.errors import UsageError, unknown_name
from edgenext.schema import Division, EvalTransform, Exif

DEFAULT_TARGET = "cpu-onnxruntime"
AUTO = "auto"
"""In place of a target: whichever of those for this machine's CPU is the fastest."""
THIS_CPU = "cpu"
"""In place of a device: this machine's own CPU, each file in its own runtime."""
DEFAULT_SCHEME = "w8a8-static"
DEFAULT_FORMAT = "onnx"
"""The format of the deployment graph itself."""
DEFAULT_OPSET = 20
"""The first opset with Gelu; LayerNormalization came with 17."""
DEFAULT_CALIBRATION = 128
"""Calibration images, where there are so many."""
DEFAULT_QAT_LR = 1e-2
"""Learning rate of quantization-aware training."""
DEFAULT_MAX_DROP = 1.0
"""Points of top-1 that INT8 may cost."""
MAX_DROP = 100.0
"""The largest budget, in points."""
ENGINE = "edgenext"
"""This package's own quantizer, beside the baselines it is compared with."""
GELUS = ("exact", "relu")
"""What a static scheme can have for GELU instead of what its recipe says: the exact function, or
ReLU, which is faster and less accurate."""

ACCELERATORS = ("auto", "cpu", "cuda", "mps")
"""Where a training may compute."""

OptionValues = Mapping[str, str | bool]
"""Options of a format by name; see its `format.toml`."""


@dataclass(frozen=True)
class ModelOptions:
    """Where a network's weights come from, and how its images are prepared."""

    weights: Path | None = None
    """Weights: .pth, .pt, .bin or .safetensors. None: the published ones, if they were fetched."""
    random_weights: bool = False
    """Seeded random weights instead, for measurements of speed."""
    seed: int = 0
    """Seed of random weights and of a fresh head."""
    num_classes: int | None = None
    """The required number of classes, or that of random weights or a fresh head."""
    reset_head: bool = False
    """Replace the head by a fresh one."""
    backbone: bool = False
    """Take weights without a head, too: only for a backbone."""
    size: int | None = None
    """Side of the input in pixels. None: as the weights were evaluated."""
    crop_pct: float | None = None
    """Share of the resized image that is kept, in 0 to 1. None: as the weights were evaluated."""
    exif: Exif | None = None
    """EXIF orientations: `ignore` or `apply`. None: as the weights were trained."""
    labels: Path | None = None
    """A file of class names, one a line, or `synset_words.txt`."""


@dataclass(frozen=True)
class DataOptions:
    """Images to measure on. Where a function takes data, a path alone means all images there."""

    data: str | Path
    """A folder or zip of class folders, or `digits`."""
    limit: int | None = None
    """A class-stratified subset of so many images. None: all."""
    seed: int = 0
    """Seed of the subset."""
    exif: Exif | None = None
    """EXIF orientations: `ignore` or `apply`. None: as the network was trained."""
    up_to: bool = False
    """Take all images where there are fewer than `limit`, which else is an error."""
    division: Division | None = None
    """How data without split folders is divided. None: as it was when the network was trained."""

    @staticmethod
    def of(data: DataOptions | str | Path) -> DataOptions:
        """The options, where only the data itself was given too."""
        return data if isinstance(data, DataOptions) else DataOptions(data)


@dataclass(frozen=True)
class ExportOptions:
    """How a float graph is made, and in which format it is written.

    What is empty follows from the format and its target.
    """

    form: str = ""
    """Layout of the graph: `convT`, `convC`, or `naive` for the plain graph."""
    target: str = ""
    """Where the file will run, such as `cpu-onnxruntime`; empty: the format's own target."""
    batch: int | None = 1
    """Images a call; None for any number."""
    opset: int | None = None
    """ONNX opset, 13 to 23."""
    uint8_input: bool = False
    """The input is N×H×W×3 uint8 pixels, and the preprocessing is in the file."""
    features_only: bool = False
    """A backbone: the four stage outputs instead of logits."""
    format: str = DEFAULT_FORMAT
    """Such as `onnx`, `coreml` or `tflite`; `edgenext doctor` lists all."""
    format_options: OptionValues = field(default_factory=dict)
    """The format's own options by name, such as `ios` of Core ML."""


@dataclass(frozen=True)
class AdoptOptions:
    """What a file that others made does not say of itself. None and empty: what the file says."""

    size: int | None = None
    """Side of the input in pixels, where the file takes any."""
    mean: tuple[float, ...] | None = None
    """Mean of red, green and blue in 0 to 1, or one of all three."""
    std: tuple[float, ...] | None = None
    """Deviation of red, green and blue in 0 to 1, or one of all three."""
    crop_pct: float | None = None
    """Share of the resized image that is kept, in 0 to 1. None: 0.875."""
    interpolation: str | None = None
    """`bicubic` or `bilinear`. None: `bicubic`."""
    exif: Exif | None = None
    """EXIF orientations: `ignore` or `apply`. None: `ignore`."""
    labels: Path | None = None
    """A file of class names in the order of the outputs, one a line, or `synset_words.txt`."""
    output: str = ""
    """The name of the output with the classes, where the file has several."""


@dataclass(frozen=True)
class QatOptions:
    """How a quantized graph is trained (quantization-aware training); no label is read."""

    epochs: int
    """Passes over the images."""
    lr: float = DEFAULT_QAT_LR
    """The highest learning rate, as a share of each parameter's range a step."""
    data: str | Path = ""
    """Images to train on: a folder, a zip or `digits`. Empty: those that are calibrated on."""
    n: int | None = None
    """How many of them an epoch has. None: all."""


@dataclass(frozen=True)
class QuantizeOptions:
    """How a model is quantized."""

    scheme: str = DEFAULT_SCHEME
    """What is quantized, and how: `w8a8-static`, `w8a8-dynamic`, `fp16` and others."""
    target: str = DEFAULT_TARGET
    """Where the file will run, such as `cpu-onnxruntime`, `jetson` or `tflite`."""
    engine: str = ENGINE
    """This package's own quantizer, or a baseline such as `onnxruntime`."""
    recipe: Path | None = None
    """A recipe file of one's own instead of the target's."""
    calib: str | Path = ""
    """Calibration images: a folder, a zip or `digits`."""
    n: int | None = None
    """How many of them. None: 128, or all where there are fewer."""
    seed: int = 0
    """Seed of the images that are drawn, and of every other random choice."""
    exclude: Sequence[str] = ()
    """Content hashes of images that must not be used: those of the evaluation set."""
    division: Division | None = None
    """As in `DataOptions`."""
    qat: QatOptions | None = None
    """Train the quantized graph before it is written. None: do not."""
    gelu: str = ""
    """What stands for GELU in a static scheme: one of `GELUS`; empty: what the recipe says."""


@dataclass(frozen=True)
class BenchOptions:
    """How artifacts are measured."""

    threads: int = 1
    """Inside an operator."""
    batch: int = 1
    """Images an inference."""
    rounds: int = 30
    """Interleaved bursts of each artifact; 30 at least to be valid."""
    unit: str = ""
    """A device's compute unit, such as `gpu`; empty: the one that its kind is there for."""
    delegate: str = ""
    """Android: path there of the NPU's LiteRT delegate."""
    lock_clocks: bool = False
    """Jetson: lock the clocks meanwhile."""
    sustained_s: float = 0.0
    """Go on for so many seconds; the last third counts."""
    limit_s: float = 7200.0
    """Seconds after which a device is given up."""
    seed: int = 0
    """Seed of the timed input and of the intervals."""


@dataclass(frozen=True)
class CiOptions:
    """What a command does for continuous integration."""

    fail_if: str = ""
    """A condition such as `drop > 0.5 or undecided`."""
    junit: Path | None = None
    """JUnit XML to write, a test case for each condition and file."""
    csv: Path | None = None
    """All results, to write as CSV."""
    parquet: Path | None = None
    """All results, to write as Parquet; it needs the extra `parquet`."""
    step_summary: Path | None = None
    """A Markdown file that a summary is added to."""


def require_budget(max_drop: float) -> None:
    """Refuse what is not a number of points that top-1 may drop.

    Raises:
        UsageError: outside 0 to 100, or not a number.
    """
    if not 0 <= max_drop <= MAX_DROP:
        raise UsageError(f"--max-drop {max_drop:g} is not a number of points", "Use 0 to 100")


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


MODEL, EXPORT, BENCH, ADOPT = ModelOptions(), ExportOptions(), BenchOptions(), AdoptOptions()
"""Defaults."""
