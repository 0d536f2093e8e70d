"""The configuration of a sweep: TOML in, a validated record and its points out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from edgenext.commands.config import BenchStage
from edgenext.errors import UsageError, unknown_name
from edgenext.models import zoo
from edgenext.options import DEFAULT_SCHEME, DEFAULT_TARGET, ModelOptions
from edgenext.schema import Exif, Record, SweepPoint
from edgenext.schema.validation import validated
from edgenext.system.parsing import read_toml
from edgenext.targets.scheme import FLOAT, ROWS
from edgenext.targets.target import TARGETS

MOST_POINTS = 100_000
"""Of a grid, before any is excluded."""


class Grid(Record):
    """The values of each axis; a sweep has every combination of them."""

    model: tuple[str, ...]
    """Architectures or published checkpoints."""
    size: tuple[int, ...] | None = None
    """Input sizes in pixels; without it as the weights were evaluated."""
    scheme: tuple[str, ...] = (FLOAT, DEFAULT_SCHEME)
    """`fp32`, or quantization schemes."""
    target: tuple[str, ...] = (DEFAULT_TARGET,)
    """Where files will run."""
    device: tuple[str, ...] | None = None
    """Where files are timed: `cpu`, or names of `edgenext devices`; without it nothing is timed."""
    seed: tuple[int, ...] = (0,)
    """Seeds of the calibration images."""

    @property
    def axes(self) -> dict[str, tuple[Any, ...]]:
        """The values of every axis by its name."""
        axes = {name: getattr(self, name) for name in SweepPoint.model_fields}
        return axes | {"size": self.size or (None,), "device": self.device or ("",)}


class Exclusion(Record):
    """Points that are left out: those with one of the values of each axis that it names."""

    model: tuple[str, ...] | None = None
    size: tuple[int, ...] | None = None
    scheme: tuple[str, ...] | None = None
    target: tuple[str, ...] | None = None
    device: tuple[str, ...] | None = None
    seed: tuple[int, ...] | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return value if isinstance(value, list | tuple) else (value,)

    def matches(self, point: SweepPoint) -> bool:
        """Whether a point is left out."""
        values = {name: getattr(self, name) for name in self.model_fields_set}
        return all(getattr(point, name) in value for name, value in values.items())


class SweepConfig(Record):
    """What `edgenext sweep` reads from TOML; paths are relative to the current folder."""

    data: str
    """Evaluation images; their `train` part is calibrated on unless `calib` is given."""
    calib: str | None = None
    """Calibration images."""
    limit: int | None = Field(None, ge=1)
    """Evaluate on a stratified subset of so many images."""
    n: int | None = Field(None, ge=1)
    """Calibration images; without it 128, or all there are."""
    weights: Path | dict[str, Path] | None = None
    """Weights of the only model, or a table of them by model; else published ones in the cache."""
    random_weights: bool = False
    """Seeded random weights, where only speed matters."""
    weight_seed: int = Field(0, ge=0)
    """Seed of random weights."""
    num_classes: int | None = Field(None, ge=1)
    """Classes of random weights."""
    crop_pct: float | None = None
    """Share of the resized image that is kept."""
    exif: Exif | None = None
    """EXIF orientations: `ignore` or `apply`."""
    labels: Path | None = None
    """Class names, one a line."""
    shard: int = Field(512, ge=1)
    """Images that a job evaluates."""
    out: Path = Path("runs/sweep")
    """Folder of the sweep."""
    grid: Grid
    """The values of each axis."""
    exclude: tuple[Exclusion, ...] = ()
    """Points that are left out."""
    bench: BenchStage = BenchStage()
    """How latency is measured."""

    def model_options(self, model: str, size: int | None) -> ModelOptions:
        """Where a model's weights come from and how its images are prepared."""
        weights = self.weights.get(model) if isinstance(self.weights, dict) else self.weights
        return ModelOptions(
            weights=weights,
            random_weights=self.random_weights,
            seed=self.weight_seed,
            num_classes=self.num_classes,
            size=size,
            crop_pct=self.crop_pct,
            exif=self.exif,
            labels=self.labels,
        )

    @property
    def points(self) -> tuple[SweepPoint, ...]:
        """The points of the grid that are not excluded, in the order of its axes."""
        return tuple(
            point for point in self._all if not any(e.matches(point) for e in self.exclude)
        )

    @property
    def _all(self) -> Iterator[SweepPoint]:
        axes = self.grid.axes
        for values in product(*axes.values()):
            yield SweepPoint(**dict(zip(axes, values, strict=True)))

    def unused_exclusions(self) -> list[int]:
        """The numbers, from 1, of exclusions that no point of the grid matches."""
        unused = dict(enumerate(self.exclude, 1))
        for point in self._all:
            unused = {n: e for n, e in unused.items() if not e.matches(point)}
            if not unused:
                break
        return list(unused)


def read_sweep(path: Path, overrides: Mapping[str, Any] | None = None) -> SweepConfig:
    r"""A sweep's configuration from a TOML file, with what the command line gave on top.

    Args:
        path: of the file.
        overrides: values that count more than those of the file.

    Raises:
        InputError: a file that is missing or is not TOML.
        UsageError: an unknown key or name, a value that is there twice, or no point at all.

    >>> lines = ['data = "digits"', "[grid]", 'model = ["edgenext_xx_small"]', "size = [32]"]
    >>> lines += ['scheme = ["fp32", "bf16"]']
    >>> _ = Path("sweep.toml").write_text("\n".join(lines))
    >>> [point.scheme for point in read_sweep(Path("sweep.toml")).points]
    ['fp32', 'bf16']
    """
    source = str(path)
    config = validated(SweepConfig, read_toml(path) | dict(overrides or {}), source)
    _require_grid(config.grid, source)
    if isinstance(config.weights, dict):
        for model in config.weights:
            if model not in config.grid.model:
                raise unknown_name(f"model in [weights] of {source}", model, config.grid.model)
    elif config.weights and len(config.grid.model) > 1:
        raise UsageError(
            f"{source}: weights is one file, and the grid has {len(config.grid.model)} models",
            'Give a table: weights = { edgenext_small = "small.pth" }',
        )
    if unused := config.unused_exclusions():
        raise UsageError(f"{source}: [[exclude]] number {unused[0]} matches no point of the grid")
    if not config.points:
        raise UsageError(f"{source}: every point of the grid is excluded")
    return config


def _require_grid(grid: Grid, source: str) -> None:
    """Refuse a grid without points, with too many, or with a value that is unknown or repeated.

    Raises:
        UsageError: as above.
    """
    for name in SweepPoint.model_fields:
        values = getattr(grid, name)
        if values is not None and not values:
            raise UsageError(f"{source}: [grid] {name} is empty: it has no point")
        repeated = next((v for v, n in Counter(values or ()).items() if n > 1), None)
        if repeated is not None:
            raise UsageError(f"{source}: [grid] {name} has {repeated!r} twice")
    count = prod(map(len, grid.axes.values()))
    if count > MOST_POINTS:
        raise UsageError(
            f"{source}: the grid has {count:,} points, and a sweep at most {MOST_POINTS:,}",
            "Divide it into several sweeps with one --out: they share what is the same",
        )
    models = {*zoo.arch_table(), *zoo.checkpoint_table()}
    for kind, values, known in (
        ("model", grid.model, models),
        ("scheme", grid.scheme, {*ROWS}),
        ("target", grid.target, {*TARGETS}),
    ):
        for value in values:
            if value not in known:
                raise unknown_name(f"{kind} in [grid] of {source}", value, known)
    if min(grid.seed) < 0:
        raise UsageError(f"{source}: [grid] seed has {min(grid.seed)}, and seeds are 0 or more")
