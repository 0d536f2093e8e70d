"""ExecuTorch programs on this machine's CPU, run by XNNPACK and portable kernels."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgenext.errors import RuntimeFailedError
from edgenext.formats.session import (
    ArtifactSession,
    Inspection,
    Tensor,
    needed,
    one_line,
    output_names,
)
from edgenext.schema import Evidence, Manifest, TensorSpec
from edgenext.system.native_output import native_output_hidden
from edgenext.system.reading import open_file

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact

IDENTIFIER = slice(4, 8)
"""Where a program has its flatbuffer's file identifier."""

METHOD = "forward"

DTYPES = {1: "int8", 0: "uint8", 6: "float32"}
"""PyTorch's numbers of scalar types → their names."""


def preload() -> Any:
    """ExecuTorch's runtime, imported.

    Its public name, `executorch.runtime`, imports the compiler too, which takes 7 s.

    Raises:
        MissingDependencyError: it is not installed.
    """
    with needed("ExecuTorch", "executorch"):
        import torch  # noqa: F401 - loads libraries that the runtime needs
        from executorch.extension.pybindings import _C
    return _C


def _program(path: Path) -> Any:
    """A loaded program.

    Raises:
        MissingDependencyError: ExecuTorch is not installed.
        RuntimeFailedError: ExecuTorch cannot load the file.
    """
    runtime = preload()
    try:
        with open_file(path, RuntimeFailedError) as file:
            head = file.read(IDENTIFIER.stop)
        if head[IDENTIFIER] != b"ET12":
            raise RuntimeFailedError(f"{path.name} is not an ExecuTorch program")
        with native_output_hidden():
            return runtime._load_program(
                str(path),
                enable_etdump=False,
                debug_buffer_size=0,
                program_verification=runtime.Verification.InternalConsistency,
            )
    except (OSError, RuntimeError) as e:
        raise RuntimeFailedError(f"ExecuTorch cannot load {path.name}: {one_line(e, 0)}") from e


class ExecutorchSession(ArtifactSession):
    """An ExecuTorch artifact, loaded. Its number of threads is set for the whole process."""

    runtime = "executorch"
    evidence: Evidence = "host"

    def __init__(self, path: Path, manifest: Manifest, threads: int) -> None:
        super().__init__(manifest)
        self._program = _program(path)  # must live as long as its methods
        try:
            with native_output_hidden():
                preload()._unsafe_reset_threadpool(threads)
                self._method = self._program.load_method(METHOD)
        except RuntimeError as e:
            raise RuntimeFailedError(f"ExecuTorch cannot load {path.name}: {one_line(e, 0)}") from e

    def run(self, prepared: NDArray[Any]) -> list[Tensor]:
        """Every output of one prepared batch."""
        import torch

        try:
            results = self._method([torch.from_numpy(prepared)])
        except (RuntimeError, ValueError) as e:
            name = self.manifest.file
            raise RuntimeFailedError(f"ExecuTorch cannot run {name}: {one_line(e, 0)}") from e
        return [np.array(result.numpy()) for result in results]


def inspect(path: Path) -> Inspection:
    """The input, output and kernel calls of a file; a part for XNNPACK counts as one call.

    Raises:
        MissingDependencyError: ExecuTorch is not installed.
        RuntimeFailedError: ExecuTorch cannot load the file.
    """
    meta = _program(path).method_meta(METHOD)
    calls = kernels(path.read_bytes())
    return Inspection(
        input=_spec("image", meta.input_tensor_meta(0)),
        outputs=tuple(
            _spec(name, meta.output_tensor_meta(i))
            for i, name in enumerate(output_names(meta.num_outputs()))
        ),
        operators=calls,
        partitions=sum(n for name, n in calls.items() if "::" not in name),
    )


def kernels(program: bytes) -> dict[str, int]:
    """Calls of a program by name, the most frequent first: `aten::` kernels and backends."""
    with warnings.catch_warnings(), native_output_hidden():
        warnings.simplefilter("ignore")
        from executorch.exir._serialize._program import deserialize_pte_binary
        from executorch.exir.schema import DelegateCall, KernelCall

        (plan,) = deserialize_pte_binary(program).program.execution_plan
    counts: Counter[str] = Counter()
    for step in (s.instr_args for chain in plan.chains for s in chain.instructions):
        if isinstance(step, KernelCall):
            counts[plan.operators[step.op_index].name] += 1
        elif isinstance(step, DelegateCall):
            counts[plan.delegates[step.delegate_index].id] += 1
    return dict(counts.most_common())


def _spec(name: str, meta: Any) -> TensorSpec:
    shape = tuple(int(size) for size in meta.sizes())
    return TensorSpec(name=name, shape=shape, dtype=DTYPES[meta.dtype()])


def open_session(artifact: Artifact, threads: int) -> ExecutorchSession:
    """Load an ExecuTorch artifact.

    Raises:
        MissingDependencyError: ExecuTorch is not installed.
        RuntimeFailedError: ExecuTorch cannot load the file.
    """
    return ExecutorchSession(artifact.path, artifact.manifest, threads)
