"""What other records are made of: transforms, tensors, sets of images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Evidence = Literal["device", "host", "simulator", "emulated", "compiler", "estimate", "published"]
"""What a number is based on; see docs/measuring.md."""

TIMED: tuple[Evidence, ...] = ("host", "device")
"""Evidence of latencies that were measured on the machine or device named."""


def _finite(value: object) -> object:
    """The value, if no number in it is NaN or infinite.

    Raises:
        ValueError: one is.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is NaN or infinite")
    parts = value.values() if isinstance(value, Mapping) else value
    if isinstance(parts, Record | str | bytes) or not hasattr(parts, "__iter__"):
        return value
    for part in parts:
        _finite(part)
    return value


Finite = Annotated[object, AfterValidator(_finite)]
"""Any value without NaN or infinity in it: for fields that hold a record of unknown shape."""


class Record(BaseModel):
    """Base of all models: unknown keys are errors, records are immutable, numbers are finite.

    JSON has no NaN and no infinity. Whatever can be missing or without limit is None or a value
    that its docstring names.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other values, which are not validated but must be finite.

        Raises:
            ValueError: a new value holds NaN or infinity.
        """
        _finite(update or {})
        return super().model_copy(update=update, deep=deep)


Exif = Literal["ignore", "apply"]
"""What is done with an image's EXIF orientation; the published evaluation ignores it."""


class EvalTransform(Record):
    """Preprocessing of an image: short side to int(size / crop_pct), centre crop, normalise.

    With `exif` of `apply` the image is first turned as its EXIF orientation says.
    """

    size: int = 256
    crop_pct: float = 0.875
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    exif: Exif = "ignore"


class ModelCard(Record):
    """One row of `edgenext models`: a published checkpoint and its published figures.

    `params` and `macs_256` (multiply-adds of one 256 px image) are exact counts of the
    reference network; `top1` is the published ImageNet-1k accuracy in percent, measured by the
    published command with `eval`. `timm_crop_pct` is the `crop_pct` that timm lists for the same
    weights, None where it does not have them: another transform, another accuracy.
    """

    name: str
    arch: str
    params: int
    macs_256: int
    top1: float
    eval: EvalTransform
    timm_crop_pct: float | None = None


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


class UnreadFiles(Record):
    """Files in the class folders of a data set that are not read as images.

    `ending` is in lower case, empty for files without one, `.*` for all rarer ones; `n` counts
    them all; `examples` are the paths of the first few.
    """

    ending: str
    n: int
    examples: tuple[str, ...]


class Division(Record):
    """How a data set without split folders is divided into images to train and to evaluate on.

    `data` is its name. Of each class `share` is evaluated on, drawn with `seed`; identical images
    are on one side. `sha256` is that of the sorted content hashes of all its images: the division
    is of these images and no others.
    """

    data: str
    seed: int = Field(ge=0)
    share: float = Field(gt=0, lt=1)
    sha256: str


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
    exif: Exif = "ignore"
    """What was done with EXIF orientations."""
    kinds: dict[str, int] = Field(default_factory=dict)
    """How many of the n images are of an unusual kind, by kind: see docs/images.md."""
    unread: tuple[UnreadFiles, ...] = ()
    """Other files in the class folders, by ending: they are not counted in n or n_total."""
    empty_classes: tuple[str, ...] = ()
    """Class folders in which no file is read as an image."""
    division: Division | None = None
    """Of a data set without split folders that was divided: `split` is the side of the images."""


class Calibration(Record):
    """The images that INT8 ranges were measured on; `images` are 16-hex-digit content hashes."""

    subset: SubsetInfo
    images: tuple[str, ...]
