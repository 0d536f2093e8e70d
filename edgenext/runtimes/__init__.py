"""Run artifacts on this machine: one module a runtime, chosen by format and target."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from edgenext.errors import ArtifactError

if TYPE_CHECKING:
    from edgenext.artifact import Artifact
    from edgenext.runtimes.base import Session
    from edgenext.schema import Manifest

ANY = "*"

RUNTIMES = {
    ("onnx", "cpu-openvino"): "edgenext.runtimes.openvino",
    ("onnx", ANY): "edgenext.runtimes.onnxruntime",
    ("tensorrt", ANY): "edgenext.runtimes.onnxruntime",
    ("openvino", ANY): "edgenext.runtimes.openvino",
    ("tflite", ANY): "edgenext.runtimes.tflite",
    ("coreml", ANY): "edgenext.runtimes.coreml",
    ("executorch", ANY): "edgenext.runtimes.executorch",
    ("qnn-context", ANY): "edgenext.runtimes.htp",
}
"""Format and target → the module that runs them, by `preload` and `open_artifact`: one row each."""

ASKED = {
    ("onnx", "cpu-onnxruntime"): "edgenext.runtimes.onnxruntime",
    ("onnx", "cpu-openvino"): "edgenext.runtimes.openvino",
    ("onnx", "htp"): "edgenext.runtimes.htp",
    ("openvino", "cpu-openvino"): "edgenext.runtimes.openvino",
    ("tflite", "tflite"): "edgenext.runtimes.tflite",
    ("coreml", "coreml"): "edgenext.runtimes.coreml",
    ("executorch", "executorch"): "edgenext.runtimes.executorch",
    ("qnn-context", "htp"): "edgenext.runtimes.htp",
}
"""The same where a target was asked for: only what really computes as that target does."""


def runtime_of(manifest: Manifest, target: str = "") -> ModuleType:
    """The module that runs an artifact; `preload()` imports the package it drives.

    Args:
        manifest: the artifact's.
        target: whose runtime it must be; any that takes the file unless given.

    Raises:
        ArtifactError: no runtime for the format, or none that stands for the target.
    """
    if target:
        if (manifest.format, target) in ASKED:
            return import_module(ASKED[manifest.format, target])
        able = " or ".join(place for name, place in ASKED if name == manifest.format)
        raise ArtifactError(
            f"nothing here runs {manifest.file} ({manifest.format}) as {target} does",
            f"Use --target {able}" if able else "Leave --target out",
        )
    for key in ((manifest.format, manifest.target), (manifest.format, ANY)):
        if key in RUNTIMES:
            return import_module(RUNTIMES[key])
    raise ArtifactError(f"no runtime for format {manifest.format!r}")


def open_session(artifact: Artifact, threads: int = 1, target: str = "") -> Session:
    """Load an artifact into the runtime of its format and target.

    Args:
        artifact: a checked artifact.
        threads: inside an operator.
        target: see `runtime_of`.

    Raises:
        ArtifactError: no runtime for the format.
        MissingDependencyError: the runtime is not installed.
        RuntimeFailedError: the runtime refuses the file.
    """
    session: Session = runtime_of(artifact.manifest, target).open_artifact(artifact, threads)
    return session
