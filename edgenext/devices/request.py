"""What is asked of a device: which files, how, and on what compute unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgenext.benchmark import latency
from edgenext.benchmark.worker import input_size
from edgenext.errors import ArtifactError, UsageError, unknown_name
from edgenext.formats.artifact import Artifact, distinct_names
from edgenext.options import BenchOptions
from edgenext.schema import Device, DeviceFacts, EvalTransform, TensorSpec
from edgenext.targets import scheme

if TYPE_CHECKING:
    from edgenext.data import ImageSet

UNITS = ("cpu", "gpu", "tensorrt", "npu", "nnapi", "ane", "all")
"""Compute units by the names of `--unit`; tensorrt is the GPU through TensorRT, ane Apple's NPU."""
ACCELERATOR = {"jetson": "tensorrt", "iphone": "ane"}
"""What a kind of device is there for; others start with the CPU, which all of them have."""


@dataclass(frozen=True)
class Asked:
    """A whole request: files, the images to score them on if any, and the device as it is."""

    device: Device
    facts: DeviceFacts
    artifacts: tuple[Artifact, ...]
    images: ImageSet | None
    how: BenchOptions

    @property
    def names(self) -> list[str]:
        """What results call the artifacts."""
        return distinct_names([a.path for a in self.artifacts])

    @property
    def unit(self) -> str:
        """The compute unit that is asked for."""
        return self.how.unit or ACCELERATOR.get(self.device.kind, "cpu")

    @property
    def clocks(self) -> str:
        """The command that locks the clocks, if that was asked for.

        Raises:
            UsageError: the device has none.
        """
        if not self.how.lock_clocks:
            return ""
        if tool := self.facts.tools.get("jetson_clocks"):
            return tool
        raise UsageError(
            f"{self.device.name} has no jetson_clocks to lock its clocks with",
            "Leave out --lock-clocks",
        )

    @property
    def transform(self) -> EvalTransform:
        """How images become inputs: the same for all artifacts."""
        return self.artifacts[0].manifest.eval


def check(artifacts: Sequence[Artifact], how: BenchOptions) -> None:
    """Refuse what cannot be asked.

    Raises:
        UsageError: nothing to measure, an option that cannot be, or files of unlike inputs.
    """
    latency.check(artifacts, how.threads, how.batch, how.rounds)
    if how.unit and how.unit not in UNITS:
        raise unknown_name("compute unit", how.unit, UNITS)
    first = artifacts[0]
    for other in artifacts[1:]:
        if other.manifest.eval != first.manifest.eval:
            raise UsageError(
                f"{first.name} and {other.name} prepare images unlike each other",
                "Measure them one at a time",
            )


def is_int8(artifact: Artifact) -> bool:
    """Whether a file computes in 8-bit integers."""
    return scheme.is_int8(artifact.manifest.scheme)


def fitting(asked: Asked) -> Asked:
    """The same without the INT8 files, on a GPU that is slow with them; a note says so.

    Raises:
        ArtifactError: no other file is left.
    """
    if asked.facts.int8 is not False or asked.unit not in ("gpu", "tensorrt"):
        return asked
    left = tuple(a for a in asked.artifacts if not is_int8(a))
    what = f"{asked.facts.model or asked.device.name} has no fast INT8"
    if not left:
        raise ArtifactError(f"{what}: {asked.names[0]} is not for it", "Measure an fp16 file there")
    out = [n for n, a in zip(asked.names, asked.artifacts, strict=True) if is_int8(a)]
    notes = tuple(f"{what}: {name} was not measured" for name in out)
    facts = asked.facts.model_copy(update={"notes": (*asked.facts.notes, *notes)})
    return replace(asked, artifacts=left, facts=facts)


def input_spec(artifact: Artifact) -> TensorSpec:
    """An artifact's input with height and width decided where it leaves them free."""
    spec = artifact.manifest.input
    height, width = input_size(artifact.manifest)
    sides = (height, width, 3) if spec.channels_last else (3, height, width)
    return spec.model_copy(update={"shape": (spec.shape[0], *sides)})
