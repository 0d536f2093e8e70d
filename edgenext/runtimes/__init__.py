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
}
"""Format and target → the module that runs them, by `preload` and `open_artifact`: one row each."""


def runtime_of(manifest: Manifest) -> ModuleType:
    """The module that runs an artifact; `preload()` imports the package it drives.

    Raises:
        ArtifactError: no runtime for the format.
    """
    for key in ((manifest.format, manifest.target), (manifest.format, ANY)):
        if key in RUNTIMES:
            return import_module(RUNTIMES[key])
    raise ArtifactError(f"no runtime for format {manifest.format!r}")


def open_session(artifact: Artifact, threads: int = 1) -> Session:
    """Load an artifact into the runtime of its format and target.

    Args:
        artifact: a checked artifact.
        threads: inside an operator.

    Raises:
        ArtifactError: no runtime for the format.
        MissingDependencyError: the runtime is not installed.
        RuntimeFailedError: the runtime refuses the file.
    """
    session: Session = runtime_of(artifact.manifest).open_artifact(artifact, threads)
    return session
