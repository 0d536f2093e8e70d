"""A request to a device: which files to measure, how, and on which compute unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edgenext.benchmark.latency import check_options
from edgenext.benchmark.worker import input_size
from edgenext.errors import ArtifactError, UsageError, unknown_name
from edgenext.formats.artifact import Artifact, distinct_names
from edgenext.options import BenchOptions
from edgenext.schema import Device, DeviceFacts, EvalTransform, TensorSpec
from edgenext.targets import scheme

if TYPE_CHECKING:
    from edgenext.data import ImageSet

UNITS = ("cpu", "gpu", "tensorrt", "npu", "nnapi", "ane", "wasm", "all")
"""Compute units by the names of `--unit`; tensorrt is the GPU through TensorRT, ane Apple's NPU,
wasm the CPU through WebAssembly."""
DEFAULT_UNIT = {"jetson": "tensorrt", "iphone": "ane", "web": "wasm"}
"""The default unit of a kind of device; for the other kinds it is the CPU."""


@dataclass(frozen=True)
class DeviceRequest:
    """A device with its facts, the files to measure on it, the images to score and the options."""

    device: Device
    facts: DeviceFacts
    artifacts: tuple[Artifact, ...]
    images: ImageSet | None
    options: BenchOptions

    @property
    def names(self) -> list[str]:
        """The artifacts' names in results."""
        return distinct_names([a.path for a in self.artifacts])

    @property
    def unit(self) -> str:
        """The requested compute unit."""
        return self.options.unit or DEFAULT_UNIT.get(self.device.kind, "cpu")

    @property
    def clocks(self) -> str:
        """The command that locks the clocks, if that is requested; else empty.

        Raises:
            UsageError: the device has no such command.
        """
        if not self.options.lock_clocks:
            return ""
        if tool := self.facts.tools.get("jetson_clocks"):
            return tool
        raise UsageError(
            f"{self.device.name} has no jetson_clocks to lock its clocks with",
            "Leave out --lock-clocks",
        )

    @property
    def transform(self) -> EvalTransform:
        """How images become inputs: the same for all artifacts where images are scored."""
        return self.artifacts[0].manifest.eval


def check_request(artifacts: Sequence[Artifact], options: BenchOptions, *, scored: bool) -> None:
    """Refuse an unsupported request, before the device is reached.

    Args:
        artifacts: the files.
        options: how they are measured.
        scored: whether images are scored, which are sent once for all files.

    Raises:
        UsageError: no artifact, a backbone, an unsupported option, or artifacts with different
            transforms or classes that are to be scored.
    """
    check_options(artifacts, options)
    if options.unit and options.unit not in UNITS:
        raise unknown_name("compute unit", options.unit, UNITS)
    for artifact in artifacts:
        if artifact.manifest.is_backbone:
            raise UsageError(
                f"{artifact.name} is a backbone, and devices measure classifiers",
                "Measure the classifier of the same network, or the backbone on this machine",
            )
    first = artifacts[0]
    for other in artifacts[1:] if scored else ():
        if other.manifest.labels != first.manifest.labels:
            raise UsageError(
                f"{first.name} and {other.name} do not have the same classes in the same order",
                "Measure them one at a time, or leave --data out",
            )
        if other.manifest.eval != first.manifest.eval:
            raise UsageError(
                f"{first.name} and {other.name} prepare images in different ways",
                "Measure them one at a time, or leave --data out",
            )


def is_int8(artifact: Artifact) -> bool:
    """Whether an artifact computes in 8-bit integers."""
    return scheme.is_int8(artifact.manifest.scheme)


def without_slow_int8(request: DeviceRequest) -> DeviceRequest:
    """The request without INT8 artifacts on a GPU that is slow with them, which its notes name.

    Raises:
        ArtifactError: no other artifact remains.
    """
    if request.facts.int8 is not False or request.unit not in ("gpu", "tensorrt"):
        return request
    remaining = tuple(a for a in request.artifacts if not is_int8(a))
    reason = f"{request.facts.model or request.device.name} has no fast INT8"
    names = request.names
    if not remaining:
        raise ArtifactError(
            f"{reason}: {names[0]} would be slow there", "Measure an fp16 file there"
        )
    left_out = [n for n, a in zip(names, request.artifacts, strict=True) if is_int8(a)]
    notes = tuple(f"{reason}: {name} was not measured" for name in left_out)
    facts = request.facts.model_copy(update={"notes": (*request.facts.notes, *notes)})
    return replace(request, artifacts=remaining, facts=facts)


def input_spec(artifact: Artifact) -> TensorSpec:
    """An artifact's input with a fixed height and width, where the artifact leaves them free.

    One that takes pixels has no scale.
    """
    spec = artifact.manifest.input
    if artifact.manifest.takes_pixels:
        spec = spec.model_copy(update={"scale": None, "zero_point": None})
    height, width = input_size(artifact.manifest)
    sides = (height, width, 3) if spec.channels_last else (3, height, width)
    return spec.model_copy(update={"shape": (spec.shape[0], *sides)})
