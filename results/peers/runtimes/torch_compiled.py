"""The network compiled by PyTorch's inductor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch_eager import TorchStateSession, preload

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact

__all__ = ["open_session", "preload"]


def open_session(artifact: Artifact, threads: int) -> TorchStateSession:
    """Load a state dict; it is compiled at the first inference."""
    session = TorchStateSession(artifact, threads)
    session.network = preload().compile(session.network)
    session.runtime = "torch.compile"
    return session
