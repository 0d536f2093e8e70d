"""A training run's recipe, and its results."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import field_validator, model_validator

from edgenext.errors import InputError, UsageError, unknown_name
from edgenext.schema import Record
from edgenext.schema.validation import validated
from edgenext.system.reading import read_text, reason

SMALL = "small"
"""The recipe for small data sets."""

BOUNDS: dict[str, tuple[float, float]] = {
    "epochs": (1, math.inf),
    "batch_size": (1, math.inf),
    "accumulate": (1, math.inf),
    "lr": (0, math.inf),
    "lr_min": (0, math.inf),
    "lr_start": (0, math.inf),
    "warmup_epochs": (0, math.inf),
    "weight_decay": (0, math.inf),
    "layer_decay": (0.01, 1),
    "clip_norm": (0, math.inf),
    "ema_decay": (0, 1),
    "label_smoothing": (0, 1),
    "drop_path": (0, 0.999),
    "shift": (0, 1),
    "scale": (0, 0.999),
    "flip": (0, 1),
    "crop_least": (0.001, 1),
    "color_jitter": (0, 1),
    "erasing": (0, 1),
    "mixup": (0, math.inf),
    "cutmix": (0, math.inf),
    "mixing": (0, 1),
    "early_stop": (0, math.inf),
    "distill_weight": (0, math.inf),
    "distill_temperature": (0.01, 100),
    "seed": (0, 2**63 - 1),
}
"""The least and the greatest value of each number of a `TrainRecipe`."""

Stage = Literal["stem", "stage1", "stage2", "stage3", "stage4"]


class TrainRecipe(Record):
    """Everything that decides trained weights besides the network and the images.

    The defaults are those of `recipes/small.toml`, for small data sets.

    Raises:
        UsageError: a value out of range, or values that exclude each other.
    """

    recipe: str = SMALL
    """The recipe whose values the others change: one of the package's, or a TOML file."""
    epochs: int = 20
    """Passes over the training images."""
    batch_size: int = 64
    """Images of a step, in each process."""
    accumulate: int = 1
    """Batches whose gradients are averaged for one step of the optimizer."""
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    """Of the forward pass: the other two are automatic mixed precision."""

    optimizer: str = "adamw"
    """AdamW with betas 0.9 and 0.999, or another optimizer by its name in timm."""
    lr: float = 2e-3
    """The peak, reached after `warmup_epochs` and followed by a cosine. Never scaled."""
    lr_start: float = 0.0
    """Where the warm-up starts."""
    lr_min: float = 0.0
    """Where the cosine ends."""
    warmup_epochs: float = 2.0
    """Epochs in which the learning rate rises from `lr_start` to `lr`."""
    weight_decay: float = 0.05
    """Of tensors with two or more dimensions: not of norms, biases and layer scales."""
    decay_temperatures: bool = False
    """Decay the attention's temperatures too: as published, since they have three dimensions."""
    layer_decay: float = 1.0
    """Factor of the learning rate from each stage to the one before it; an extension, for
    fine-tuning."""
    clip_norm: float = 1.0
    """Gradients are scaled down to this norm where theirs is larger; 0: never."""
    ema_decay: float = 0.99
    """Of the averaged weights, per step of the optimizer."""
    ema_ramp: bool = True
    """Reach `ema_decay` slowly, so that the start is forgotten: for trainings of few steps."""
    label_smoothing: float = 0.1
    """The share of a label that is spread over all classes."""
    drop_path: float = 0.0
    """Stochastic depth of the last block."""

    loader: Literal["memory", "photos"] = "memory"
    """`memory`: images are decoded once, as for evaluation, then shifted and scaled. `photos`:
    worker processes decode each image anew, crop and augment it."""
    flip: float = 0.0
    """Share of images that are mirrored, `true` for half of them: suitable for photographs, not
    for digits."""
    shift: float = 0.1
    """Of `memory`: images are shifted by up to this fraction of their side, in both directions."""
    scale: float = 0.1
    """Of `memory`: images are enlarged or shrunk by up to this fraction."""
    crop_least: float = 0.08
    """Of `photos`: the least share of an image's area that a random crop keeps."""
    randaugment: str = ""
    """Of `photos`: RandAugment as timm spells it, such as `rand-m9-mstd0.5-inc1`."""
    color_jitter: float = 0.0
    """Of `photos`: how much brightness, contrast and saturation change; unused with RandAugment."""
    three_augment: bool = False
    """Of `photos`: grey, solarised or blurred, one of the three; unused with `multi_scale`."""
    erasing: float = 0.0
    """Of `photos`: probability that a random rectangle is erased."""
    mixup: float = 0.0
    """Alpha of Mixup."""
    cutmix: float = 0.0
    """Alpha of CutMix."""
    mixing: float = 0.0
    """Probability that a batch is mixed."""
    multi_scale: bool = False
    """Of `photos`: each batch has one of five sides, from 0.625 to 1.25 of the input's."""

    freeze: tuple[Stage, ...] = ()
    """Parts of the network that keep their weights."""
    early_stop: int = 0
    """Stop after as many epochs without a better top-1, and take the best weights; 0: never."""
    distill_weight: float = 5.0
    """With a teacher: the factor of its KL divergence beside the cross-entropy."""
    distill_temperature: float = 1.0
    """With a teacher: what both networks' logits are divided by for the KL divergence."""
    from_scratch: bool = True
    """Draw all weights anew from `seed`. False keeps the network's weights: fine-tuning."""
    seed: int = 0
    """Of weights, order, augmentation and stochastic depth."""

    @field_validator("flip", mode="before")
    @classmethod
    def _half_of_them(cls, value: object) -> object:
        return 0.5 if value is True else value

    @model_validator(mode="after")
    def _require_valid(self) -> TrainRecipe:
        for name, (low, high) in BOUNDS.items():
            value = getattr(self, name)
            if not (low <= value <= high and math.isfinite(value)):
                raise UsageError(
                    f"{name} is {value}, which is out of range",
                    f"Use {low:g} to {high:g}" if math.isfinite(high) else f"Use at least {low:g}",
                )
        if self.multi_scale and self.loader != "photos":
            raise UsageError("multi_scale needs loader = photos: decoded images have one size")
        if (self.mixup or self.cutmix) and not self.mixing:
            raise UsageError(
                "mixup and cutmix need mixing, the probability that a batch is mixed",
                "Set mixing, such as 1.0",
            )
        return self

    @property
    def mixes(self) -> bool:
        """Whether images of a batch are mixed."""
        return self.mixing > 0 and (self.mixup > 0 or self.cutmix > 0)


def recipe_names() -> tuple[str, ...]:
    """The names of the recipes that come with the package, sorted."""
    files = resources.files(__package__).joinpath("recipes").iterdir()
    return tuple(sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml")))


def load_recipe(name: str, **changes: Any) -> TrainRecipe:
    """A recipe with some values changed.

    Args:
        name: one of `recipe_names`, or the path of a TOML file with fields of `TrainRecipe`.
        changes: fields and their values.

    Raises:
        UsageError: unknown recipe or field, or a value out of range.
        InputError: the file cannot be read.

    >>> load_recipe("edgenext_small", batch_size=64).lr
    0.006
    """
    if name in recipe_names():
        text = resources.files(__package__).joinpath("recipes", f"{name}.toml").read_text("utf-8")
    elif name.endswith(".toml"):
        text = read_text(Path(name))
    else:
        raise unknown_name("recipe", name, recipe_names())
    try:
        values = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as e:
        raise InputError(f"{name} is not TOML: {reason(e)}") from e
    return validated(TrainRecipe, values | {"recipe": name} | changes, f"the recipe {name}")


@dataclass(frozen=True)
class EpochReport:
    """One epoch: mean loss, last learning rate, seconds since the start.

    `top1` and `top5` are of the averaged weights, `raw_top1` and `raw_top5` of the weights
    themselves, in percent. `images_per_s` is of the training alone.
    """

    epoch: int
    epochs: int
    loss: float
    lr: float
    seconds: float
    top1: float | None
    top5: float | None = None
    raw_top1: float | None = None
    raw_top5: float | None = None
    images_per_s: float = 0.0


@dataclass(frozen=True)
class TrainResult:
    """The files of a training run, and the accuracy of its weights.

    `top1` is that of the written weights on the validation images in percent; `seconds` is training
    time, including that of interrupted runs. `epoch` is the epoch that the weights are of: the last
    one, or with early stopping the best.
    """

    name: str
    weights: Path
    sidecar: Path
    checkpoint: Path
    epochs: int
    seconds: float
    loss: float
    top1: float | None
    history: tuple[EpochReport, ...]
    epoch: int = 0
