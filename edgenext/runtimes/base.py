"""What a runtime is to the rest: something that turns images into logits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgenext.schema import EvalTransform, Evidence

Images = NDArray[np.uint8]
"""N×H×W×3 uint8, decoded, resized and cropped; not yet normalised."""
Logits = NDArray[np.float32]
"""N×K float32."""


class Session(Protocol):
    """A network or artifact that is loaded and ready."""

    runtime: str
    evidence: Evidence
    batch: int | None
    """The only batch size it takes, or None for any."""

    def prepare(self, images: Images) -> NDArray[Any]:
        """The input tensor for a batch of images, in the layout and type the artifact takes."""
        ...

    def infer(self, prepared: NDArray[Any]) -> Logits:
        """Logits of one prepared batch: the call that is timed."""
        ...


def normalise(images: Images, transform: EvalTransform) -> NDArray[np.float32]:
    """N×H×W×3 uint8 to N×3×H×W float32, contiguous, (x / 255 − mean) / std."""
    mean = np.asarray(transform.mean, np.float32) * 255
    scale = 1 / (np.asarray(transform.std, np.float32) * 255)
    return np.ascontiguousarray(((images - mean) * scale).transpose(0, 3, 1, 2))


def logits(session: Session, images: Images, batch: int = 16) -> Iterator[Logits]:
    """Logits of any number of images, batch by batch; a fixed batch is filled by repetition."""
    size = session.batch or batch
    for start in range(0, len(images), size):
        chunk = np.asarray(images[start : start + size])
        n = len(chunk)
        if session.batch and n < size:
            chunk = np.concatenate((chunk, np.repeat(chunk[-1:], size - n, axis=0)))
        yield session.infer(session.prepare(chunk))[:n]
