"""ExecuTorch programs on this machine's CPU: XNNPACK's parts, and portable kernels between them."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgenext.errors import RuntimeFailedError
from edgenext.formats.session import ArtifactSession, Inspection, Logits, needed
from edgenext.schema import Evidence, Manifest, TensorSpec
from edgenext.system.native_output import native_output_hidden

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact

IDENTIFIER = slice(4, 8)
"""Where a program says that it is one: the flatbuffer's file identifier."""

METHOD = "forward"

DTYPES = {1: "int8", 0: "uint8", 6: "float32"}
"""Numbers of PyTorch's scalar types."""


def preload() -> Any:
    """ExecuTorch's runtime, imported.

    Not by its public name, `executorch.runtime`, which imports the compiler too: 7 s.

    Raises:
        MissingDependencyError: it is not installed.
    """
    with needed("ExecuTorch", "executorch"):
        import torch  # noqa: F401 - its libraries are those of the runtime
        from executorch.extension.pybindings import _C
    return _C


def _program(path: Path) -> Any:
    """A program, loaded.

    Raises:
        MissingDependencyError: ExecuTorch is not installed.
        RuntimeFailedError: it refuses the file.
    """
    runtime = preload()
    try:
        with path.open("rb") as file:
            head = file.read(IDENTIFIER.stop)
        if head[IDENTIFIER] != b"ET12":
            raise RuntimeFailedError(f"{path.name} is no ExecuTorch program")
        with native_output_hidden():
            return runtime._load_program(
                str(path),
                enable_etdump=False,
                debug_buffer_size=0,
                program_verification=runtime.Verification.InternalConsistency,
            )
    except (OSError, RuntimeError) as e:
        raise RuntimeFailedError(f"ExecuTorch cannot load {path.name}: {_one_line(e)}") from e


class ExecutorchSession(ArtifactSession):
    """An ExecuTorch artifact, loaded. The number of threads is the whole process's."""

    runtime = "executorch"
    evidence: Evidence = "host"

    def __init__(self, path: Path, manifest: Manifest, threads: int) -> None:
        super().__init__(manifest)
        self._program = _program(path)  # what it has loaded does not outlive it
        try:
            with native_output_hidden():
                preload()._unsafe_reset_threadpool(threads)
                self._method = self._program.load_method(METHOD)
        except RuntimeError as e:
            raise RuntimeFailedError(f"ExecuTorch cannot load {path.name}: {_one_line(e)}") from e

    def infer(self, prepared: NDArray[Any]) -> Logits:
        """Logits of one prepared batch."""
        import torch

        try:
            (result,) = self._method([torch.from_numpy(prepared)])
        except (RuntimeError, ValueError) as e:
            name = self.manifest.file
            raise RuntimeFailedError(f"ExecuTorch cannot run {name}: {_one_line(e)}") from e
        return np.array(result.numpy())


def inspect(path: Path) -> Inspection:
    """What a file says of itself: the kernels it calls, a part for XNNPACK counting as one.

    Raises:
        MissingDependencyError: ExecuTorch is not installed.
        RuntimeFailedError: it refuses the file.
    """
    meta = _program(path).method_meta(METHOD)
    given, made = meta.input_tensor_meta(0), meta.output_tensor_meta(0)
    called = kernels(path.read_bytes())
    parts = {name: n for name, n in called.items() if "::" not in name}
    return Inspection(_spec("image", given), (_spec("logits", made),), called, sum(parts.values()))


def kernels(program: bytes) -> dict[str, int]:
    """What a program calls, in the order of how often: `aten::` kernels and backends."""
    with warnings.catch_warnings(), native_output_hidden():
        warnings.simplefilter("ignore")
        from executorch.exir._serialize._program import deserialize_pte_binary
        from executorch.exir.schema import DelegateCall, KernelCall

        (plan,) = deserialize_pte_binary(program).program.execution_plan
    found: Counter[str] = Counter()
    for step in (s.instr_args for chain in plan.chains for s in chain.instructions):
        if isinstance(step, KernelCall):
            found[plan.operators[step.op_index].name] += 1
        elif isinstance(step, DelegateCall):
            found[plan.delegates[step.delegate_index].id] += 1
    return dict(found.most_common())


def _spec(name: str, meta: Any) -> TensorSpec:
    shape = tuple(int(size) for size in meta.sizes())
    return TensorSpec(name=name, shape=shape, dtype=DTYPES[meta.dtype()])


def _one_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def open_session(artifact: Artifact, threads: int) -> ExecutorchSession:
    """Load an ExecuTorch artifact.

    Raises:
        MissingDependencyError: ExecuTorch is not installed.
        RuntimeFailedError: it refuses the file.
    """
    return ExecutorchSession(artifact.path, artifact.manifest, threads)
