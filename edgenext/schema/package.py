"""What `edgenext package` writes and says."""

from __future__ import annotations

from pydantic import Field

from edgenext.schema.base import EvalTransform, Finite, Record, TensorSpec
from edgenext.schema.predict import ClassScore


class Preprocessing(Record):
    """`preprocessing.json` of a package: from an image to the input of each file.

    `short` is what the shorter side is resized to, in pixels, before the centre is cropped.
    `pretrained_cfg` has timm's keys. `inputs` is by file.
    """

    words: dict[str, str]
    short: int
    eval: EvalTransform
    inputs: dict[str, TensorSpec]
    pretrained_cfg: dict[str, Finite]


class ExpectedAnswers(Record):
    """`expected.json` of a package: the best classes of its example, by file, the best first."""

    image: str
    files: dict[str, tuple[ClassScore, ...]]


class PackageResult(Record):
    """`package --json`.

    `files` are all files of the package, relative to it; `samples` the programs among them;
    `expected` the best classes of the example image, by deployment file.
    """

    package: str
    files: tuple[str, ...]
    samples: tuple[str, ...]
    size_bytes: int
    expected: dict[str, tuple[ClassScore, ...]]
    notes: tuple[str, ...] = Field(default=())
