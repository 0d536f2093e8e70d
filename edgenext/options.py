"""What a user can choose: the options that commands and functions share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgenext.graph.targets import DEFAULT_TARGET

DEFAULT_OPSET = 20
"""The first opset with Gelu; LayerNormalization came with 17."""


@dataclass(frozen=True)
class ModelOptions:
    """The options every command that takes a MODEL has; see `load_checkpoint`."""

    weights: Path | None = None
    random_weights: bool = False
    seed: int = 0
    num_classes: int | None = None
    reset_head: bool = False
    size: int | None = None
    crop_pct: float | None = None
    labels: Path | None = None


@dataclass(frozen=True)
class ExportOptions:
    """How a float graph is made.

    What is empty follows from the format: see `export.formats.resolved`. `batch` None is any
    number; `uint8_input` takes N×H×W×3 pixels with preprocessing inside; `features_only` gives
    the four stage outputs instead of logits. `file_format` is a row of export/formats.toml, `told`
    its options by name.
    """

    form: str = ""
    target: str = ""
    batch: int | None = 1
    opset: int | None = None
    uint8_input: bool = False
    features_only: bool = False
    file_format: str = "onnx"
    told: Mapping[str, str | bool] = field(default_factory=dict)


@dataclass(frozen=True)
class QuantizeOptions:
    """How a model is quantized: see `edgenext quantize`."""

    scheme: str = "w8a8-static"
    target: str = DEFAULT_TARGET
    engine: str = "edgenext"
    recipe: Path | None = None
    calib: str | Path = ""
    n: int = 128
    seed: int = 0
    exclude: Sequence[str] = ()
    """Content hashes of images that must not be used: those of the evaluation set."""


@dataclass(frozen=True)
class BenchOptions:
    """How artifacts are measured: see `edgenext bench`.

    `threads` inside an operator, `batch` images an inference, `rounds` bursts of each artifact,
    30 at least to be valid. `unit` is a device's compute unit, empty for the one that its kind is
    there for, and `delegate` the library of its NPU there. `sustained_s` lets rounds go on for so
    long; `limit_s` is the longest that a device may take.
    """

    threads: int = 1
    batch: int = 1
    rounds: int = 30
    unit: str = ""
    delegate: str = ""
    lock_clocks: bool = False
    sustained_s: float = 0.0
    limit_s: float = 7200.0


MODEL, EXPORT = ModelOptions(), ExportOptions()
"""Defaults."""
