"""What other records are made of: transforms, tensors, sets of images."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Evidence = Literal["device", "host", "simulator", "emulated", "compiler", "estimate", "published"]
"""What a number is based on; see docs/measuring.md."""

TIMED: tuple[Evidence, ...] = ("host", "device")
"""Evidence of latencies that were measured on the machine or device named."""


class Record(BaseModel):
    """Base of all models: unknown keys are errors, records are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class EvalTransform(Record):
    """Preprocessing of an image: short side to int(size / crop_pct), centre crop, normalise."""

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
    """An input or output of an artifact; a dimension of -1 is free."""

    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "float16", "uint8", "int8", "int16"]
    scale: float | None = None
    zero_point: int | None = None
    """Of quantized integers: value = scale · (stored − zero_point)."""

    @property
    def channels_last(self) -> bool:
        """Whether images are N×H×W×3."""
        return len(self.shape) == 4 and self.shape[3] == 3


class SubsetInfo(Record):
    """The images that a number was measured on.

    `data` is the name of their folder or zip, without the folders above it. `sha256` hashes the
    ordered image hashes, labels and transform. `n_total` is the size of the
    data set; if `n` is smaller, the images are a class-stratified subset drawn with `seed`.
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
    """The images that INT8 ranges were measured on; `images` are 16-hex-digit content hashes."""

    subset: SubsetInfo
    images: tuple[str, ...]
