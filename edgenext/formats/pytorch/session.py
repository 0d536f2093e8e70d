"""The reference network as a session: artifacts are compared with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
from numpy.typing import NDArray

from edgenext.formats.session import Images, Logits, Tensor, normalise
from edgenext.schema import EvalTransform, Evidence

if TYPE_CHECKING:
    from edgenext.models.network import EdgeNeXt


class TorchSession:
    """A network in evaluation mode."""

    runtime = "torch"
    evidence: Evidence = "host"
    batch: int | None = None
    gives_probabilities = False
    fallback = ""
    precision_asked, precision = "f32", "f32"
    precision_emulated: bool | None = False

    def __init__(self, network: EdgeNeXt, transform: EvalTransform) -> None:
        self.network, self.transform = network.eval(), transform

    def prepare(self, images: Images) -> NDArray[Any]:
        """N×H×W×3 uint8 to normalised N×3×H×W."""
        return normalise(images, self.transform)

    def infer(self, prepared: NDArray[Any]) -> Logits:
        """Logits of one prepared batch."""
        return self.run(prepared)[0]

    def run(self, prepared: NDArray[Any]) -> list[Tensor]:
        """Logits of one prepared batch, or a backbone's feature maps."""
        with torch.inference_mode():
            result = self.network(torch.from_numpy(prepared))
        results = result if isinstance(result, list) else [result]
        return [cast(Tensor, value.numpy()) for value in results]
