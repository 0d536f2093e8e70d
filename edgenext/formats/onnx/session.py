"""ONNX files on this machine's CPU, run by onnxruntime."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgenext.errors import RuntimeFailedError
from edgenext.formats.session import ArtifactSession, Tensor, one_line
from edgenext.schema import Evidence, Manifest, TensorSpec
from edgenext.system.temporary import scratch_folder

if TYPE_CHECKING:
    import onnx

    from edgenext.formats.artifact import Artifact


Tracer = Callable[[NDArray[Any]], dict[str, NDArray[np.float32]]]
"""From a prepared batch to all float tensors by name."""


def preload() -> Any:
    """The `onnxruntime` package, imported."""
    import onnxruntime

    return onnxruntime


def inference_session(
    model: bytes | str,
    threads: int,
    written: Path | None = None,
    *,
    optimised: bool = True,
    profile: Path | None = None,
) -> Any:
    """An onnxruntime session on the CPU.

    Args:
        model: a serialised model, or the path of one.
        threads: inside an operator; operators run one after the other. 0 means all cores, for work
            that is not timed: idle threads then sleep, because other processes need the cores.
        written: where to write the optimised graph.
        optimised: with every graph optimisation, or as the graph is written: Q/DQ then round
            floats, and no integer kernel is used, of which some saturate.
        profile: how the file of a profile begins, which `end_profiling()` writes; None for none.

    Raises:
        onnxruntime's own exceptions if the model does not load.
    """
    ort = preload()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if written is not None:
        options.optimized_model_filepath = str(written)
    if profile is not None:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile)
    if threads == 0:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class OnnxSession(ArtifactSession):
    """An ONNX artifact, loaded."""

    runtime = "onnxruntime"
    evidence: Evidence = "host"

    def __init__(self, model: bytes | str, manifest: Manifest, threads: int) -> None:
        super().__init__(manifest)
        self._model, self._threads = model, threads
        try:
            self._session = inference_session(model, threads)
        except Exception as e:  # onnxruntime's exceptions share no public base class
            raise RuntimeFailedError(
                f"onnxruntime cannot load {manifest.file}: {one_line(e)}"
            ) from e

    def run(self, prepared: NDArray[Any]) -> list[Tensor]:
        """Every output of one prepared batch."""
        names = [output.name for output in self.manifest.outputs]
        try:
            outputs: list[Tensor] = self._session.run(names, {self.manifest.input.name: prepared})
        except Exception as e:
            raise RuntimeFailedError(f"onnxruntime cannot run {self.manifest.file}: {e}") from e
        return [np.asarray(output, np.float32) for output in outputs]

    def trace(self, prepared: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """Every float tensor of one prepared batch, by name."""
        return self._tracer(prepared)

    @cached_property
    def _tracer(self) -> Tracer:
        import onnx

        if isinstance(self._model, bytes):
            return tracer(onnx.load_from_string(self._model), self._threads)
        return tracer(onnx.load(self._model), self._threads)


def optimised_operators(path: Path) -> dict[str, int]:
    """Operators by type after every graph optimisation for this CPU, the most frequent first.

    Raises:
        RuntimeFailedError: onnxruntime cannot load the file.
    """
    import onnx

    with scratch_folder() as folder:
        written = folder / "optimised.onnx"
        try:
            inference_session(str(path), 1, written)
        except Exception as e:
            raise RuntimeFailedError(f"onnxruntime cannot load {path.name}: {one_line(e)}") from e
        graph = onnx.load(written).graph
    return dict(Counter(node.op_type for node in graph.node).most_common())


def tensor_spec(value: onnx.ValueInfoProto) -> TensorSpec:
    """Name, shape and type of a graph's input or output; a free dimension is -1."""
    import onnx

    tensor = value.type.tensor_type
    return TensorSpec(
        name=value.name,
        shape=tuple(d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim),
        dtype="uint8" if tensor.elem_type == onnx.TensorProto.UINT8 else "float32",
    )


def tracer(model: onnx.ModelProto, threads: int = 0, *, every_type: bool = False) -> Tracer:
    """A function from a prepared batch to every float tensor that the graph computes, by name.

    Args:
        model: any graph.
        threads: those of `inference_session`.
        every_type: float16 and int32 tensors too, in their own types.
    """
    import onnx

    kinds = {onnx.TensorProto.FLOAT}
    if every_type:
        kinds |= {onnx.TensorProto.FLOAT16, onnx.TensorProto.INT32}
    inferred = onnx.shape_inference.infer_shapes(model)
    computed = {name for node in inferred.graph.node for name in node.output}
    shown = [
        value
        for value in inferred.graph.value_info
        if value.type.tensor_type.elem_type in kinds and value.name in computed
    ]
    inferred.graph.output.extend(shown)
    session = inference_session(inferred.SerializeToString(), threads)
    names = [o.name for o in session.get_outputs()]
    input_name = model.graph.input[0].name

    def trace(prepared: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        return dict(zip(names, session.run(names, {input_name: prepared}), strict=True))

    return trace


def open_session(artifact: Artifact, threads: int) -> OnnxSession:
    """Load an ONNX artifact.

    Raises:
        RuntimeFailedError: onnxruntime cannot load the file.
    """
    return OnnxSession(str(artifact.path), artifact.manifest, threads)
