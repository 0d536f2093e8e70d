"""ONNX files on this machine's CPU through onnxruntime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgenext.errors import RuntimeFailedError
from edgenext.runtimes.base import Images, Logits, normalise
from edgenext.schema import Evidence, Manifest

if TYPE_CHECKING:
    from edgenext.artifact import Artifact


def preload() -> Any:
    """The `onnxruntime` package, imported."""
    import onnxruntime

    return onnxruntime


def inference_session(model: bytes | str, threads: int) -> Any:
    """An onnxruntime session on the CPU with every graph optimisation.

    Args:
        model: a serialised model, or the path of one.
        threads: inside an operator; operators run one after the other. With 0 it is all cores, for
            work that nobody times: idle threads then sleep, for they are not alone.

    Raises:
        onnxruntime's own exceptions when the model does not load.
    """
    ort = preload()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if threads == 0:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class OnnxSession:
    """An ONNX artifact, loaded."""

    runtime = "onnxruntime"
    evidence: Evidence = "host"

    def __init__(self, model: bytes | str, manifest: Manifest, threads: int) -> None:
        self.manifest = manifest
        self.batch = manifest.input.shape[0] if manifest.input.shape[0] > 0 else None
        try:
            self._session = inference_session(model, threads)
        except Exception as e:  # onnxruntime's exceptions share no public base class
            raise RuntimeFailedError(f"onnxruntime cannot load {manifest.file}: {e}") from e

    def prepare(self, images: Images) -> NDArray[Any]:
        """The input tensor of N×H×W×3 uint8 images: as they are, or normalised N×3×H×W."""
        if self.manifest.input.dtype == "uint8":
            return np.ascontiguousarray(images)
        return normalise(images, self.manifest.eval)

    def infer(self, prepared: NDArray[Any]) -> Logits:
        """Logits of one prepared batch."""
        try:
            outputs: list[Logits] = self._session.run(
                [self.manifest.outputs[0].name], {self.manifest.input.name: prepared}
            )
        except Exception as e:
            raise RuntimeFailedError(f"onnxruntime cannot run {self.manifest.file}: {e}") from e
        return outputs[0]


def open_artifact(artifact: Artifact, threads: int) -> OnnxSession:
    """Load an ONNX artifact.

    Raises:
        RuntimeFailedError: onnxruntime refuses the file.
    """
    return OnnxSession(str(artifact.path), artifact.manifest, threads)
