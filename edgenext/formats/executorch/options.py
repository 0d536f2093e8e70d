"""What ExecuTorch's options allow."""

from __future__ import annotations

import sys

from edgenext.errors import UsageError, unknown_name
from edgenext.formats.format import Choices

BACKENDS = {"xnnpack": "XnnpackBackend", "coreml": "CoreMLBackend"}
"""Value of the option `backend` → the backend's name in ExecuTorch's runtime."""


def resolve(choices: Choices) -> Choices:
    """The same choices, if this machine can make and run such a file.

    Raises:
        UsageError: unknown backend, or one that ExecuTorch has on macOS only.
    """
    backend = str(choices.options.get("backend", next(iter(BACKENDS))))
    if backend not in BACKENDS:
        raise unknown_name("backend of executorch", backend, BACKENDS)
    if backend == "coreml" and sys.platform != "darwin":
        raise missing_backend(backend)
    return choices


def missing_backend(backend: str) -> UsageError:
    """The error for a backend that this machine's ExecuTorch does not have."""
    return UsageError(
        f"ExecuTorch has no {BACKENDS[backend]} on this machine, so a file for it cannot be run "
        "and compared",
        f"Use --backend xnnpack{', or --format coreml' if backend == 'coreml' else ''}",
    )
