"""What a runner on a device is asked: the job, one JSON file."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from edgenext.schema import TensorSpec

PROTOCOL: Final = 1


def plain_name(name: str) -> str:
    """A name that can only be a file of the folder at hand.

    Raises:
        ValueError: it is hidden, leads elsewhere or cannot be a file's on every system.
    """
    if not name or name.startswith(".") or any(c in '/\\:"<>|?*' or c < " " for c in name):
        raise ValueError(f"{name!r} is not the plain name of a file")
    return name


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, AfterValidator(plain_name)]
Milliseconds = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]


class Message(BaseModel):
    """Base of what is sent: unknown keys are ignored, values do not change, numbers are finite."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)


class JobArtifact(Message):
    """One file to measure: what it is, how it is fed and where it should run.

    `format` is the manifest's, `output` names its logits. `labels` give the order of a
    classifier's, which answers by name.
    """

    sha256: Sha256
    file: FileName
    name: str
    input: TensorSpec
    output: str
    unit: str
    format: str = "coreml"
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


class Job(Message):
    """What a runner is asked: latency of the artifacts, interleaved, and logits of the images.

    Images are normalised by the runner, (x / 255 − mean) / std, unless the input takes pixels.
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
    """Rounds go on for so long, however many that are."""
    sensor: tuple[str, ...] = ()
    """A program that prints a line of the device's sensors over and over, until it is ended."""
    sensor_s: Annotated[float, Field(ge=0)] = 0.0
    """How long each artifact runs without a pause while the sensors are read, and nothing does."""
    batch: Annotated[int, Field(gt=0)] = 1
    seed: int = 0
    min_warmup: Annotated[int, Field(gt=0)] = 10
    max_warmup: Annotated[int, Field(gt=0)] = 500
    max_warmup_s: Annotated[float, Field(gt=0)] = 20.0
    settled: Annotated[float, Field(gt=0)] = 0.02
    burst_ms: Annotated[float, Field(gt=0)] = 40.0
