"""Requests to an imaginary Jetson, of artifacts without files."""

from __future__ import annotations

from pathlib import Path

from edgenext.devices.request import DeviceRequest
from edgenext.formats.artifact import Artifact
from edgenext.options import BenchOptions
from edgenext.schema import Device, DeviceFacts, EvalTransform, Manifest, TensorSpec


def artifact(scheme: str, format_: str = "tensorrt") -> Artifact:
    """An artifact of three classes and 32×32 images, which its scheme names."""
    manifest = Manifest(
        file=f"{scheme}.onnx",
        format=format_,
        scheme=scheme,
        form="convT",
        target="jetson",
        arch="edgenext_xx_small",
        num_classes=3,
        eval=EvalTransform(size=32),
        input=TensorSpec(name="input", shape=(1, 3, 32, 32), dtype="float32"),
        outputs=(TensorSpec(name="logits", shape=(1, 3), dtype="float32"),),
        sha256=(scheme.encode().hex() + "0" * 64)[:64],
        size_bytes=1,
        source={},
        tools={},
    )
    return Artifact(Path(manifest.file), manifest)


def request_for(
    facts: DeviceFacts, *schemes: str, options: BenchOptions, format_: str = "tensorrt"
) -> DeviceRequest:
    """A request without images for artifacts of these schemes."""
    device = Device(name="orin", kind="jetson", ssh="a@b")
    artifacts = tuple(artifact(scheme, format_) for scheme in schemes)
    return DeviceRequest(device, facts, artifacts, None, options)
