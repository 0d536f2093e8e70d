"""MNN's files on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgenext.formats.session import ArtifactSession, Tensor

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact


def preload() -> Any:
    """The `MNN` package, imported."""
    import MNN

    return MNN


class MnnSession(ArtifactSession):
    """A file, loaded."""

    runtime = "mnn"
    evidence = "host"

    def __init__(self, artifact: Artifact, threads: int) -> None:
        super().__init__(artifact.manifest)
        mnn = preload()
        # low memory: weights in INT8 stay so, and products of them are computed in INT8
        settings = {"backend": "CPU", "precision": "high", "memory": "low", "numThread": threads}
        manager = mnn.nn.create_runtime_manager((settings,))
        outputs = [output.name for output in artifact.manifest.outputs]
        self._module = mnn.nn.load_module_from_file(
            str(artifact.path), [artifact.manifest.input.name], outputs, runtime_manager=manager
        )

    def run(self, prepared: NDArray[Any]) -> list[Tensor]:
        """The logits of one prepared batch."""
        mnn = preload()
        image = mnn.expr.const(
            prepared, list(prepared.shape), mnn.expr.data_format.NCHW, mnn.expr.dtype.float
        )
        result = self._module.forward([image])
        first = result[0] if isinstance(result, list) else result
        logits = mnn.expr.convert(first, mnn.expr.data_format.NCHW)
        return [np.array(logits.read(), np.float32).reshape(len(prepared), -1)]


def open_session(artifact: Artifact, threads: int) -> MnnSession:
    """Load a file."""
    return MnnSession(artifact, threads)
