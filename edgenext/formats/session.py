"""The interface of runtimes: a session turns images into logits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgenext.data.pixels import Pixels
from edgenext.errors import MissingDependencyError
from edgenext.schema import FEATURES, LOGITS, EvalTransform, Evidence, Manifest, TensorSpec

Images = NDArray[np.uint8]
"""N×H×W×3 uint8, decoded, resized and cropped, not normalised."""
Logits = NDArray[np.float32]
"""N×K float32."""
Tensor = NDArray[np.float32]
"""An output of any shape, float32."""


class Session(Protocol):
    """A loaded network or artifact."""

    runtime: str
    evidence: Evidence
    batch: int | None
    """The only batch size that it takes; None for any."""
    gives_probabilities: bool
    """Whether the logarithms of its output are its logits."""
    fallback: str
    """Where it deviates from the file, for example in another precision; usually empty."""
    precision_asked: str
    """The precision that the file asks for in its float operators; empty if it is not known."""
    precision: str
    """The precision in which the runtime says that it computes them; empty if it does not."""
    precision_emulated: bool | None
    """Whether the CPU lacks instructions for that precision; None if it is not known."""

    def prepare(self, images: Images) -> NDArray[Any]:
        """The input tensor of a batch of images, in the layout and type of the artifact."""
        ...

    def infer(self, prepared: NDArray[Any]) -> Logits:
        """Logits of one prepared batch; this call is what benchmarks time.

        Of a backbone all outputs are computed, and the first is returned.
        """
        ...

    def run(self, prepared: NDArray[Any]) -> Sequence[Tensor]:
        """Every output of one prepared batch, in the manifest's order and the file's layout."""
        ...


@runtime_checkable
class Traceable(Protocol):
    """A session that gives access to intermediate tensors."""

    def trace(self, prepared: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """All tensors computed from one prepared batch, by the file's names, dequantized."""
        ...


@runtime_checkable
class Parallel(Protocol):
    """A session that computes several batches at once."""

    def infer_each(self, batches: Iterable[Images]) -> Iterator[Logits]:
        """Logits of batches of images, in order."""
        ...


@contextmanager
def needed(package: str, extra: str) -> Iterator[None]:
    """A block that imports an optional package.

    Raises:
        MissingDependencyError: it is not installed; the message names the extra to install.
    """
    try:
        yield
    except ImportError as e:
        raise MissingDependencyError(
            f"{package} cannot be imported ({e})", f"Install it: pip install 'edgenext[{extra}]'"
        ) from e


@dataclass(frozen=True)
class Inspection:
    """What a file contains: its input and outputs, and its operators by type.

    `partitions` is the number of parts of the graph that the runtime's accelerated kernels run.
    """

    input: TensorSpec
    outputs: tuple[TensorSpec, ...]
    operators: dict[str, int]
    partitions: int | None = None


class ArtifactSession:
    """The base of sessions of artifacts: inputs are prepared as the manifest says.

    A session provides `run`.
    """

    fallback = ""
    precision_asked = ""
    precision = ""
    precision_emulated: bool | None = None

    def __init__(self, manifest: Manifest) -> None:
        self.manifest = manifest
        self.batch = manifest.input.shape[0] if manifest.input.shape[0] > 0 else None
        self.gives_probabilities = manifest.gives_probabilities

    def run(self, prepared: NDArray[Any]) -> Sequence[Tensor]:
        """Every output of one prepared batch; see `Session.run`."""
        raise NotImplementedError

    def infer(self, prepared: NDArray[Any]) -> Logits:
        """Logits of one prepared batch; see `Session.infer`."""
        return self.run(prepared)[0]

    def prepare(self, images: Images) -> NDArray[Any]:
        """The input tensor of N×H×W×3 uint8 images, in the file's layout and type."""
        spec = self.manifest.input
        if self.manifest.takes_pixels:
            pixels = images if spec.channels_last else images.transpose(0, 3, 1, 2)
            return np.ascontiguousarray(pixels)
        x = normalise(images, self.manifest.eval)
        if spec.channels_last:
            x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
        return x.astype(spec.dtype, copy=False) if spec.scale is None else quantized(x, spec)


def quantized(x: NDArray[Any], spec: TensorSpec) -> NDArray[Any]:
    """Real numbers as the integers of a quantized input."""
    assert spec.scale is not None  # noqa: S101 - only quantized inputs come here
    limits = np.iinfo(spec.dtype)
    levels = np.round(x / spec.scale) + (spec.zero_point or 0)
    return np.clip(levels, limits.min, limits.max).astype(spec.dtype)


def dequantized(x: NDArray[Any], scale: float, zero_point: int) -> NDArray[np.float32]:
    """The real numbers that quantized integers represent, (x − zero_point) · scale."""
    return ((x.astype(np.float32) - zero_point) * np.float32(scale)).astype(np.float32)


def normalise(images: Images, transform: EvalTransform) -> NDArray[np.float32]:
    """N×H×W×3 uint8 to N×3×H×W float32, contiguous, (x / 255 − mean) / std."""
    mean = np.asarray(transform.mean, np.float32) * 255
    scale = 1 / (np.asarray(transform.std, np.float32) * 255)
    return np.ascontiguousarray(((images - mean) * scale).transpose(0, 3, 1, 2))


LONGEST_MESSAGE = 1000
"""Characters of a runtime's message that are shown: it may quote the file."""


def one_line(error: Exception, line: int | None = None) -> str:
    """The message of an error on one line: all of it, or one of its lines; its type if empty."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    text = " ".join((" ".join(lines) if line is None else lines[line]).split())
    return text if len(text) <= LONGEST_MESSAGE else f"{text[:LONGEST_MESSAGE]}…"


def filled(images: Images, size: int) -> Images:
    """The first `size` images, repeated from the start if there are fewer."""
    return np.resize(images[:size], (size, *images.shape[1:]))


def logits(session: Session, images: Pixels, batch: int = 16) -> Iterator[Logits]:
    """Logits of any number of images, batch by batch; a fixed batch is filled up by repetition."""
    if isinstance(session, Parallel):
        results = session.infer_each(_batches(session, images, batch))
    else:
        results = (session.infer(session.prepare(b)) for b in _batches(session, images, batch))
    left = len(images)
    for values in results:
        values = values[:left]
        left -= len(values)
        values = values.reshape(len(values), -1)  # N×K×1×1 of some networks
        yield log(values) if session.gives_probabilities else values


def log(probabilities: Logits) -> Logits:
    """Logarithms, finite where a probability was rounded to zero.

    They are the logits that the softmax read, up to a constant for each image.
    """
    return np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))


def outputs(
    session: Session, manifest: Manifest | None, images: Pixels, batch: int = 16
) -> dict[str, Tensor]:
    """Every output for any number of images, by name; feature maps as N×C×H×W.

    Args:
        session: a loaded network or artifact.
        manifest: of the artifact; None for a network, whose feature maps have that layout.
        images: N×H×W×3 uint8.
        batch: images at once, where the file takes any number.
    """
    parts = [session.run(session.prepare(b)) for b in _batches(session, images, batch)]
    values = [np.concatenate(of_one)[: len(images)] for of_one in zip(*parts, strict=True)]
    maps = manifest.features if manifest else ()
    for i, feature in enumerate(maps):
        if feature.layout == "NHWC":
            values[i] = np.ascontiguousarray(values[i].transpose(0, 3, 1, 2))
    return dict(zip(output_names(len(values)), values, strict=True))


def output_names(count: int) -> tuple[str, ...]:
    """The names of a file's outputs: the logits', or those of a backbone's feature maps."""
    return (LOGITS,) if count == 1 else FEATURES[:count]


def _batches(session: Session, images: Pixels, batch: int) -> Iterator[Images]:
    """Images in batches as a file takes them; a fixed last batch is filled up by repetition."""
    size = session.batch or batch
    for start in range(0, len(images), size):
        chunk = np.asarray(images[start : start + size])
        if session.batch and len(chunk) < size:
            chunk = np.concatenate((chunk, np.repeat(chunk[-1:], size - len(chunk), axis=0)))
        yield chunk
