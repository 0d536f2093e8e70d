"""Run artifacts on this machine: one module a runtime, chosen by the artifact's format."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from edgenext.errors import ArtifactError

if TYPE_CHECKING:
    from edgenext.artifact import Artifact
    from edgenext.runtimes.base import Session

OPENERS = {"onnx": ("edgenext.runtimes.onnxruntime", "open_onnx")}
"""Format → the function that opens it: a new format is one row."""


def open_session(artifact: Artifact, threads: int = 1) -> Session:
    """Load an artifact into the runtime of its format.

    Args:
        artifact: a checked artifact.
        threads: inside an operator.

    Raises:
        ArtifactError: no runtime for the format.
        RuntimeFailedError: the runtime refuses the file.
    """
    if artifact.manifest.format not in OPENERS:
        raise ArtifactError(f"no runtime for format {artifact.manifest.format!r}")
    module, function = OPENERS[artifact.manifest.format]
    session: Session = getattr(import_module(module), function)(artifact, threads)
    return session
