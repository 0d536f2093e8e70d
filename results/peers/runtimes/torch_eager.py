"""The network in PyTorch, operator by operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from edgenext.formats.session import ArtifactSession, Tensor

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact


def preload() -> Any:
    """PyTorch, imported."""
    import torch

    return torch


class TorchStateSession(ArtifactSession):
    """A state dict, loaded into the network that its manifest names."""

    evidence = "host"
    precision_asked, precision, precision_emulated = "f32", "f32", False

    def __init__(self, artifact: Artifact, threads: int) -> None:
        super().__init__(artifact.manifest)
        torch = preload()
        from edgenext.models.zoo import create_model

        torch.set_num_threads(threads)
        network = create_model(artifact.manifest.arch, artifact.manifest.num_classes).eval()
        network.load_state_dict(torch.load(artifact.path, weights_only=True))
        self.runtime, self.network = "torch", network

    def run(self, prepared: NDArray[Any]) -> list[Tensor]:
        """The logits of one prepared batch."""
        torch = preload()
        with torch.inference_mode():
            return [self.network(torch.from_numpy(prepared)).numpy()]


def open_session(artifact: Artifact, threads: int) -> TorchStateSession:
    """Load a state dict."""
    return TorchStateSession(artifact, threads)
