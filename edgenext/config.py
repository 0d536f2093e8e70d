"""The configuration of a run: TOML in, a validated record out."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import Field, ValidationError

from edgenext.errors import InputError, UsageError, unknown_name
from edgenext.schema import Record

R = TypeVar("R", bound=Record)


class QuantizeStage(Record):
    """Calibration and scheme."""

    scheme: str = "w8a8-static"
    target: str = "cpu-onnxruntime"
    n: int = Field(128, ge=1)
    seed: int = Field(0, ge=0)
    recipe: Path | None = None


class BenchStage(Record):
    """Latency."""

    threads: int = Field(1, ge=1)
    rounds: int = Field(30, ge=1)


class StressStage(Record):
    """The stressed twin: factors are powers of two, up to 2 to ±`strength`."""

    seed: int = Field(0, ge=0)
    strength: float = Field(3.0, ge=0, le=16)


def _rivals(wanted: QuantizeStage) -> tuple[str, ...]:
    """The quantizer of onnxruntime, where it makes the scheme."""
    return ("onnxruntime",) if wanted.scheme == "w8a8-static" else ()


class RunConfig(Record):
    """What `edgenext run` reads from TOML; paths are relative to the current folder."""

    model: str
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
    labels: Path | None = None
    limit: int | None = Field(None, ge=1)
    out: Path = Path("runs/edgenext")
    max_drop: float = Field(1.0, ge=0, allow_inf_nan=False)
    """Points of top-1 that INT8 may cost before the report says that it does not pay."""
    quantize: QuantizeStage = QuantizeStage()
    rivals: tuple[str, ...] = Field(default_factory=lambda given: _rivals(given["quantize"]))
    """Other engines to quantize with, side by side."""
    train: dict[str, Any] | None = None
    """Retrain first, with these fields of `TrainRecipe`; None uses the weights as they are."""
    stress: StressStage | None = None
    """Quantize an exactly rescaled twin too, with every engine."""
    bench: BenchStage = BenchStage()


def read_config(path: Path, given: dict[str, Any]) -> RunConfig:
    """A run's configuration from a TOML file, with what the command line gave on top.

    Raises:
        InputError: a file that is missing or is no TOML.
        UsageError: an unknown key (nearest names are suggested) or a value that cannot be.
    """
    try:
        return make_config(tomllib.loads(path.read_text()) | given, str(path))
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(f"cannot read the configuration {path}: {e}") from e
    except tomllib.TOMLDecodeError as e:
        raise InputError(f"{path} is no TOML: {e}") from e


def make_config(values: dict[str, Any], source: str = "the configuration") -> RunConfig:
    """A validated configuration.

    Raises:
        UsageError: an unknown key or a value that cannot be.
    """
    return validated(RunConfig, values, source)


def validated(model: type[R], values: dict[str, Any], source: str) -> R:
    """Values as a record of their section.

    Raises:
        UsageError: an unknown key or a value that cannot be.
    """
    try:
        return model.model_validate(values)
    except ValidationError as e:
        # A mistyped key is also a missing one: the mistake is what helps.
        first = min(e.errors(), key=lambda error: error["type"] != "extra_forbidden")
        *parents, key = (str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            section: type[Record] = model
            for parent in parents:
                section = _section(section, parent)
            raise unknown_name(f"key in {source}", key, section.model_fields) from e
        where = ".".join((*parents, key))
        raise UsageError(f"{source}: {where}: {first['msg']}") from e


def _section(model: type[Record], name: str) -> type[Record]:
    """The record behind a field, or the model itself where there is none."""
    declared = model.model_fields[name].annotation if name in model.model_fields else None
    for kind in (declared, *get_args(declared)):
        if isinstance(kind, type) and issubclass(kind, Record):
            return kind
    return model
