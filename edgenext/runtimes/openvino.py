"""ONNX files on this machine's CPU through OpenVINO, which reads them as they are."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgenext.errors import MissingDependencyError, RuntimeFailedError
from edgenext.runtimes.base import Images, Logits, normalise
from edgenext.schema import Evidence, Manifest

if TYPE_CHECKING:
    from edgenext.artifact import Artifact


@contextlib.contextmanager
def telemetry_hidden() -> Iterator[None]:
    """Keep OpenVINO and NNCF from reporting that they were imported.

    Both send it over the network unless the user has declined, and have a stub of their own for
    where the package that sends it is missing. None in `sys.modules` is such a place.
    """
    name = "openvino_telemetry"
    before = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment] # what Python calls a missing module
    try:
        yield
    finally:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before


def preload() -> Any:
    """The `openvino` package, imported.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        with telemetry_hidden():
            import openvino
    except ImportError as e:
        raise MissingDependencyError(
            f"OpenVINO cannot be imported ({e})", "Install it: pip install 'edgenext[openvino]'"
        ) from e
    return openvino


def precision(manifest: Manifest) -> str:
    """What OpenVINO computes in where the file does not say 8 bits: `bf16` or `f32`."""
    rest = (manifest.recipe or {}).get("rest")
    return "bf16" if "bf16" in (manifest.scheme, rest) else "f32"


def compiled_model(model: bytes | str, threads: int, precision: str = "f32") -> Any:
    """A compiled model on the CPU, for one inference at a time.

    Args:
        model: a serialised ONNX model, or the path of one.
        threads: inside an operator; operators run one after the other.
        precision: of float operators, `f32` or `bf16`; 8-bit ones stay 8-bit.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
        OpenVINO's own exceptions when the model does not load.
    """
    core = preload().Core()
    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        # whoever started the process has pinned it: a second opinion would move it elsewhere
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": precision,
    }
    return core.compile_model(core.read_model(model), "CPU", config)


class OpenVinoSession:
    """An ONNX artifact for OpenVINO, loaded."""

    runtime = "openvino"
    evidence: Evidence = "host"

    def __init__(self, model: bytes | str, manifest: Manifest, threads: int) -> None:
        self.manifest = manifest
        self.batch = manifest.input.shape[0] if manifest.input.shape[0] > 0 else None
        try:
            compiled = compiled_model(model, threads, precision(manifest))
            self._output = compiled.output(manifest.outputs[0].name)
            self._request = compiled.create_infer_request()
        except RuntimeError as e:
            raise RuntimeFailedError(f"OpenVINO cannot load {manifest.file}: {e}") from e

    def prepare(self, images: Images) -> NDArray[Any]:
        """The input tensor of N×H×W×3 uint8 images: as they are, or normalised N×3×H×W."""
        if self.manifest.input.dtype == "uint8":
            return np.ascontiguousarray(images)
        return normalise(images, self.manifest.eval)

    def infer(self, prepared: NDArray[Any]) -> Logits:
        """Logits of one prepared batch."""
        try:
            outputs = self._request.infer([prepared], share_inputs=True, share_outputs=True)
        except RuntimeError as e:
            raise RuntimeFailedError(f"OpenVINO cannot run {self.manifest.file}: {e}") from e
        # a shared output is overwritten by the next inference
        return np.array(outputs[self._output])


def open_artifact(artifact: Artifact, threads: int) -> OpenVinoSession:
    """Load an ONNX artifact.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
        RuntimeFailedError: OpenVINO refuses the file.
    """
    return OpenVinoSession(str(artifact.path), artifact.manifest, threads)
