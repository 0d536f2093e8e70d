"""RKNN files in Rockchip's simulator: what the NPU computes, on this CPU, in seconds an image.

The simulator takes no built file. It builds the graph again, from the zip beside the file, in a
process of the private environment; the result must be the file, byte for byte.
"""

from __future__ import annotations

import weakref
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from pydantic import ValidationError

from edgenext.errors import RuntimeFailedError
from edgenext.formats.rknn.package import read_record, unpack
from edgenext.formats.rknn.platforms import require_platform
from edgenext.formats.rknn.simulation import start_simulator, working_folder
from edgenext.formats.session import ArtifactSession, Inspection, Tensor
from edgenext.schema import Evidence, Manifest, TensorSpec
from edgenext.system.environments import python_for
from edgenext.system.files import sha256_file
from edgenext.system.temporary import scratch_folder

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact

ISOLATED = False
"""The toolkit runs in a process of its own already."""

OTHER_BYTES = (
    "the simulator's build of the same graph is not byte for byte the file: it runs the graph, and "
    "proves nothing of the file"
)


def preload() -> str:
    """The interpreter of the private environment.

    Raises:
        MissingDependencyError: it has not been made.
    """
    return python_for("rknn", "rknn")


class RknnSession(ArtifactSession):
    """An artifact's graph in the simulator."""

    runtime = "rknn-simulator"
    evidence: Evidence = "simulator"

    def __init__(self, path: Path, manifest: Manifest) -> None:
        super().__init__(manifest)
        platform = require_platform(str(read_record(path)["platform"]))
        with ExitStack() as stack:
            folder = working_folder(stack.enter_context(scratch_folder()))
            unpack(path, folder)
            self._process = start_simulator(preload(), folder, platform)
            self._process.request({})
            if sha256_file(folder / "built.rknn") != sha256_file(path):
                self.fallback = OTHER_BYTES
            self._finalizer = weakref.finalize(self, stack.pop_all().close)

    def run(self, prepared: NDArray[Any]) -> list[Tensor]:
        """Every output of one prepared batch."""
        return list(self._process.request({}, prepared)[1].values())


def inspect(path: Path) -> Inspection:
    """The input, outputs and operators of a file, as the toolkit built it.

    Raises:
        RuntimeFailedError: its zip is missing or damaged.
    """
    record = read_record(path)
    try:
        return Inspection(
            input=TensorSpec(**record["input"]),
            outputs=tuple(TensorSpec(**output) for output in record["outputs"]),
            operators=dict(Counter(str(layer[0]) for layer in record["layers"]).most_common()),
        )
    except (TypeError, IndexError, ValidationError) as e:
        raise RuntimeFailedError(f"{path.name}: its zip has a damaged record: {e}") from e


def open_session(artifact: Artifact, threads: int) -> RknnSession:  # noqa: ARG001
    """Load an artifact into the simulator, which ignores the number of threads.

    Raises:
        MissingDependencyError: the private environment has not been made.
        RuntimeFailedError: the zip beside the file is missing or damaged.
        RefusedError: the toolkit does not build its graph.
    """
    return RknnSession(artifact.path, artifact.manifest)
