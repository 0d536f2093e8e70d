"""The configuration of a run: TOML in, a validated record out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from pydantic import Field

from edgenext.options import (
    DEFAULT_MAX_DROP,
    DEFAULT_QAT_LR,
    MAX_DROP,
    THIS_CPU,
    ModelOptions,
    QatOptions,
)
from edgenext.quantize.baseline_rows import default_baselines
from edgenext.schema import Exif, Record
from edgenext.schema.validation import validated
from edgenext.system.parsing import read_toml

_log = logging.getLogger(__name__)


class QuantizeStage(Record):
    """Calibration and scheme."""

    scheme: str = "w8a8-static"
    target: str = "cpu-onnxruntime"
    n: int | None = Field(None, ge=1)
    """Calibration images; without it 128, or all there are."""
    seed: int = Field(0, ge=0)
    recipe: Path | None = None
    gelu: str = ""
    qat: int | None = Field(None, ge=1)
    """Epochs of quantization-aware training; without it the file stays as it was quantized."""
    qat_lr: float = Field(DEFAULT_QAT_LR, gt=0, le=1)
    qat_data: str = ""
    """Images to train on; without them those that are calibrated on."""
    qat_n: int | None = Field(None, ge=1)
    """How many of them an epoch has; without it all."""

    @property
    def qat_options(self) -> QatOptions | None:
        """How the quantized graph is trained."""
        if self.qat is None:
            return None
        return QatOptions(self.qat, self.qat_lr, self.qat_data, self.qat_n)


class BenchStage(Record):
    """Latency."""

    threads: int = Field(1, ge=1)
    rounds: int = Field(30, ge=1)


class RunBenchStage(BenchStage):
    """Latency, and where it is measured."""

    device: str = THIS_CPU
    """`cpu` for this machine, else a device's name or the kind of the only one."""


class StressStage(Record):
    """The stressed twin: factors are powers of two, up to 2 to ±`strength`."""

    seed: int = Field(0, ge=0)
    strength: float = Field(3.0, ge=0, le=16)


def _baselines(quantize: QuantizeStage) -> tuple[str, ...]:
    """The quantizer of onnxruntime, as it is and on the folded graph, where it makes the scheme."""
    return default_baselines(quantize.scheme)


class RunConfig(Record):
    """What `edgenext run` reads from TOML; paths are relative to the current folder."""

    model: str
    """An architecture, such as `edgenext_small`; `edgenext models` lists them."""
    data: str
    """Evaluation images; its `train` part is calibrated on unless `calib` is given."""
    calib: str | None = None
    weights: Path | None = None
    random_weights: bool = False
    weight_seed: int = 0
    num_classes: int | None = None
    reset_head: bool = False
    size: int | None = None
    crop_pct: float | None = None
    exif: Exif | None = None
    labels: Path | None = None
    limit: int | None = Field(None, ge=1)
    keep_logits: bool = False
    """Also keep every artifact's logits, in float16; the report needs none of them."""
    out: Path = Path("runs/edgenext")
    max_drop: float | None = Field(None, ge=0, le=MAX_DROP, allow_inf_nan=False)
    """Points of top-1 that INT8 may cost before the report says that it does not pay; images are
    evaluated only until they decide it. Without it 1, and all images are evaluated."""
    all_images: bool = False
    """Evaluate all images, also where fewer decide `max_drop`."""
    quantize: QuantizeStage = QuantizeStage()
    """How the network is quantized, and for what."""
    baselines: tuple[str, ...] = Field(
        default_factory=lambda values: _baselines(values["quantize"])
    )
    """Other quantizers to compare with, side by side."""
    train: dict[str, Any] | None = None
    """Train first, with these fields of `TrainRecipe`; without it only if there are no weights, or
    none for the classes of the data."""
    epochs: int | None = Field(None, ge=1)
    """Train first, for so many epochs."""
    stress: StressStage | None = None
    """Quantize an exactly rescaled twin too, with every engine."""
    bench: RunBenchStage = RunBenchStage()
    """How latency is measured."""

    @property
    def budget(self) -> float:
        """Points of top-1 that INT8 may cost."""
        return DEFAULT_MAX_DROP if self.max_drop is None else self.max_drop

    @property
    def stops_early(self) -> bool:
        """Whether images are evaluated only until they decide the budget."""
        return self.max_drop is not None and not self.all_images

    @property
    def model_options(self) -> ModelOptions:
        """Where the weights come from and how images are prepared."""
        return ModelOptions(
            weights=self.weights,
            random_weights=self.random_weights,
            seed=self.weight_seed,
            num_classes=self.num_classes,
            reset_head=self.reset_head,
            size=self.size,
            crop_pct=self.crop_pct,
            exif=self.exif,
            labels=self.labels,
        )


RENAMED = {"rivals": "baselines"}
"""Keys of an earlier version → their names today."""


def read_config(path: Path, overrides: dict[str, Any] | None = None) -> RunConfig:
    r"""A run's configuration from a TOML file, with what the command line gave on top.

    Args:
        path: of the file.
        overrides: values that count more than those of the file.

    Raises:
        InputError: a file that is missing or is not TOML.
        UsageError: an unknown key (nearest names are suggested) or a value it does not take.

    >>> _ = Path("run.toml").write_text('model = "edgenext_xx_small"\ndata = "digits"')
    >>> read_config(Path("run.toml"), {"limit": 60}).limit
    60
    """
    return make_config(_merged(read_toml(path), overrides or {}), str(path))


def _merged(values: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """The values with the overrides; those of a table of values override its entries only."""
    result = values | overrides
    for key, value in overrides.items():
        if isinstance(value, dict) and isinstance(values.get(key), dict):
            result[key] = values[key] | value
    return result


def make_config(values: dict[str, Any], source: str = "the configuration") -> RunConfig:
    """A validated configuration of a run.

    Args:
        values: what a run's TOML file would say.
        source: where they are from, for messages.

    Raises:
        UsageError: an unknown key or a value it does not take.

    >>> config = make_config({"model": "edgenext_xx_small", "data": "digits", "size": 32})
    >>> config.quantize.scheme, config.baselines
    ('w8a8-static', ('onnxruntime', 'onnxruntime-folded'))
    """
    for old, new in RENAMED.items():
        if old in values and new not in values:
            _log.warning("%s: %s is called %s now", source, old, new)
            values = {(new if key == old else key): value for key, value in values.items()}
    return validated(RunConfig, values, source)
