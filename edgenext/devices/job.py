"""The job of a runner on a device: one JSON file."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from edgenext.schema import TensorSpec

PROTOCOL: Final = 1


def plain_name(name: str) -> str:
    """The name, checked to be that of a file directly in a folder.

    Raises:
        ValueError: it is hidden, contains a path, or is not a valid file name on every system.
    """
    if not name or name.startswith(".") or any(c in '/\\:"<>|?*' or c < " " for c in name):
        raise ValueError(f"{name!r} is not a plain file name")
    return name


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, AfterValidator(plain_name)]
LONGEST = 1e9
"""The largest time in ms and s that a device can report: sums of larger ones overflow."""
Milliseconds = Annotated[float, Field(gt=1e-6, le=LONGEST)]
Count = Annotated[int, Field(ge=0)]


class Message(BaseModel):
    """Base of all messages: unknown keys are ignored, values are frozen, numbers are finite."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)


class JobArtifact(Message):
    """One file to measure: its content, its input and the compute unit it should run on.

    `format` is the manifest's, `runtime` the one that runs it, where a runner has several, `output`
    the name of its logits. `weights` is the second file of a format that has two, `precision` that
    of operators that are not in 8 bits. `labels` is the order of the classes of a classifier, which
    returns probabilities by name.
    """

    sha256: Sha256
    file: FileName
    weights: FileName | None = None
    name: str
    input: TensorSpec
    output: str
    unit: str
    format: str = "coreml"
    runtime: str = ""
    precision: str = "f32"
    labels: tuple[str, ...] | None = None


class JobImages(Message):
    """A file of N×H×W×3 uint8 images."""

    file: FileName
    shape: tuple[
        Annotated[int, Field(gt=0)],
        Annotated[int, Field(gt=0)],
        Annotated[int, Field(gt=0)],
        Literal[3],
    ]
    sha256: Sha256


class DeviceJob(Message):
    """The job of a runner: latency of the artifacts, interleaved, and logits of the images.

    The runner normalises images, (x / 255 − mean) / std, unless the input takes pixels.
    """

    protocol: Literal[1] = PROTOCOL
    job: str
    artifacts: tuple[JobArtifact, ...]
    images: JobImages | None = None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    threads: Annotated[int, Field(gt=0)] = 1
    rounds: Annotated[int, Field(gt=0)] = 30
    sustained_s: Annotated[float, Field(ge=0)] = 0.0
    """Rounds go on for at least this long."""
    repeat_base: bool = False
    """Whether the first artifact is measured again in a second process, for the noise floor."""
    sensor: tuple[str, ...] = ()
    """A program that prints lines of the device's sensors until it is ended."""
    sensor_s: Annotated[float, Field(ge=0)] = 0.0
    """How long sensors are read while each artifact runs without a pause, and while none does."""
    batch: Annotated[int, Field(gt=0)] = 1
    seed: int = 0
    min_warmup: Annotated[int, Field(gt=0)] = 10
    max_warmup: Annotated[int, Field(gt=0)] = 500
    max_warmup_s: Annotated[float, Field(gt=0)] = 20.0
    settled: Annotated[float, Field(gt=0)] = 0.02
    burst_ms: Annotated[float, Field(gt=0)] = 40.0
