"""Qualcomm's Hexagon NPU, simulated on this CPU by the backend of onnxruntime-qnn.

The backend compiles for one SoC and computes what its NPU would compute, in seconds per image: its
results are evidence of accuracy, but not of latency.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from edgenext.errors import EdgenextError, RuntimeFailedError
from edgenext.formats.onnx.session import tensor_spec
from edgenext.formats.qnn.socs import DEFAULT_SOC, require_soc
from edgenext.formats.session import ArtifactSession, Inspection, Tensor, needed, one_line
from edgenext.graph.load import read_model
from edgenext.schema import Evidence, Manifest
from edgenext.system.native_output import native_output_hidden

if TYPE_CHECKING:
    import onnx

    from edgenext.formats.artifact import Artifact

PROVIDER = "QNNExecutionProvider"
SOC_KEY = "edgenext.soc"
"""The key in a compiled file's metadata with the SoC that it is for."""
CONTEXT = "EPContext"
"""The operator that holds the compiled graph."""


def preload() -> Any:
    """The `onnxruntime_qnn` package, imported.

    Raises:
        MissingDependencyError: it is not installed.
    """
    with needed("onnxruntime-qnn", "vendors"):
        import onnxruntime_qnn
    return onnxruntime_qnn


@cache
def _devices() -> tuple[Any, ...]:
    """The simulator's devices; it can be registered with onnxruntime only once in a process."""
    import onnxruntime

    onnxruntime.register_execution_provider_library(PROVIDER, preload().get_library_path())
    return tuple(d for d in onnxruntime.get_ep_devices() if d.ep_name == PROVIDER)


def npu_session(
    model: str | bytes,
    soc: str = DEFAULT_SOC,
    *,
    fallback: bool = False,
    severity: int = 4,
    settings: Mapping[str, str] | None = None,
) -> Any:
    """An onnxruntime session on the simulated NPU of an SoC.

    Args:
        model: an ONNX file's path or content; it may be one with a compiled context.
        soc: a row of `socs.toml`.
        fallback: whether the CPU may run what the NPU cannot; if not, that is an error.
        severity: least severity that onnxruntime logs, from 0, everything, to 4, nothing.
        settings: further entries of the session's configuration.

    Raises:
        UsageError: unknown SoC.
        MissingDependencyError: onnxruntime-qnn is not installed.
        onnxruntime's own exceptions if the model is refused.
    """
    row = require_soc(soc)
    qnn, devices = preload(), list(_devices())
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = severity
    entries = {
        "session.disable_cpu_ep_fallback": str(int(not fallback)),
        "session.record_ep_graph_assignment_info": "1",
    }
    for key, value in {**entries, **(settings or {})}.items():
        options.add_session_config_entry(key, value)
    backend = {
        "backend_path": qnn.get_qnn_htp_path(),
        "htp_arch": str(row.htp_arch),
        "soc_model": str(row.soc_model),
        # with 1, the CPU would quantize the input and dequantize the output
        "offload_graph_io_quantization": "0",
    }
    options.add_provider_for_devices(devices, backend)
    return onnxruntime.InferenceSession(model, options)


class HtpSession(ArtifactSession):
    """An artifact on the simulated NPU, with all of its nodes: there is no fallback to the CPU."""

    runtime = "htp-simulator"
    evidence: Evidence = "simulator"

    def __init__(self, path: Path, manifest: Manifest, soc: str = "") -> None:
        super().__init__(manifest)
        try:
            with native_output_hidden():
                self._session = npu_session(str(path), soc or compiled_for(path) or DEFAULT_SOC)
        except EdgenextError:
            raise
        except Exception as e:  # onnxruntime's exceptions share no public base class
            raise RuntimeFailedError(
                f"the simulated NPU cannot take {manifest.file}: {error_message(e)}",
                "`edgenext check --target htp` names the operators",
            ) from e

    def run(self, prepared: NDArray[Any]) -> list[Tensor]:
        """Every output of one prepared batch."""
        names = [output.name for output in self.manifest.outputs]
        feeds = {self.manifest.input.name: prepared}
        try:
            outputs: list[Tensor] = self._session.run(names, feeds)
        except Exception as e:
            file = self.manifest.file
            raise RuntimeFailedError(
                f"the simulated NPU cannot run {file}: {error_message(e)}"
            ) from e
        return outputs


def error_message(error: Exception) -> str:
    """The message of an onnxruntime exception, without the number and name of its status."""
    line = one_line(error).rstrip(".")
    return line.split(" : ", 3)[-1] if line.startswith("[ONNXRuntimeError]") else line


def _read(path: Path) -> onnx.ModelProto:
    """The graph in an ONNX file.

    Raises:
        RuntimeFailedError: the file is not ONNX.
    """
    return read_model(path, RuntimeFailedError)


def compiled_for(path: Path) -> str:
    """The SoC that a file was compiled for; empty if it was not compiled.

    Raises:
        RuntimeFailedError: the file is not ONNX.
    """
    return next((p.value for p in _read(path).metadata_props if p.key == SOC_KEY), "")


def inspect(path: Path) -> Inspection:
    """The input, outputs and operators of a compiled file: contexts, and nodes outside of them.

    Raises:
        RuntimeFailedError: the file is not ONNX, or has no compiled context.
    """
    graph = _read(path).graph
    counted = Counter(node.op_type for node in graph.node)
    if CONTEXT not in counted:
        raise RuntimeFailedError(f"{path.name} has no compiled context")
    return Inspection(
        input=tensor_spec(graph.input[0]),
        outputs=tuple(map(tensor_spec, graph.output)),
        operators=dict(counted),
        partitions=counted[CONTEXT],
    )


def open_session(artifact: Artifact, threads: int) -> HtpSession:  # noqa: ARG001
    """Load an artifact into the simulator, which ignores the number of threads.

    Raises:
        MissingDependencyError: onnxruntime-qnn is not installed.
        RuntimeFailedError: the NPU cannot run the whole file.
    """
    return HtpSession(artifact.path, artifact.manifest)
