"""OpenVINO's IR and ONNX files on this machine's CPU, run by OpenVINO."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgenext.errors import RuntimeFailedError
from edgenext.formats.session import ArtifactSession, Inspection, Tensor, needed, one_line
from edgenext.schema import Evidence, Manifest, TensorSpec
from edgenext.system.cpu import cpuinfo, multiplies_bf16
from edgenext.system.native_output import native_output_hidden

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def telemetry_hidden() -> Iterator[None]:
    """Keep OpenVINO and NNCF from reporting over the network that they were imported.

    Both do unless the user has opted out, and both have a stub for an absent telemetry package:
    None in `sys.modules` makes it absent.
    """
    name = "openvino_telemetry"
    before = sys.modules.get(name)
    sys.modules[name] = None  # type: ignore[assignment] # Python's mark of an absent module
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
    with needed("OpenVINO", "openvino"), telemetry_hidden():
        import openvino
    return openvino


def core() -> Any:
    """OpenVINO's `Core`, one in a process, which lives until its end.

    On CPUs with AMX each `Core` gives its thread another stack for signals, and its end brings back
    the stack before. Of two that overlap, the second brings back the first's, which is freed: the
    next signal (Ctrl-C, the end of a child) would be a segmentation fault.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
    """
    return _core(preload())


@cache
def _core(openvino: Any) -> Any:
    return openvino.Core()


def precision(manifest: Manifest) -> str:
    """The precision of operators that are not in 8 bits: `bf16` or `f32`."""
    rest = (manifest.recipe or {}).get("rest")
    return "bf16" if "bf16" in (manifest.scheme, rest) else "f32"


def precision_fallback(requested: str, actual: str, has_bf16: bool | None) -> str:
    """What is computed instead of the requested precision; empty where nothing is.

    Args:
        requested: `f32` or `bf16`.
        actual: the precision in which OpenVINO says that it computes.
        has_bf16: whether the CPU multiplies bfloat16; None if that is not known. OpenVINO accepts
            bf16 on every CPU with AVX-512, and emulates it where the CPU has no such instruction.
    """
    if requested == "bf16" and has_bf16 is False:
        computed = f"as {actual}" if actual != requested else "by emulation"
        return f"bf16 was computed {computed} (this CPU has no bf16 instructions)"
    if actual != requested:
        return f"{requested} was computed as {actual} (OpenVINO chose that for this CPU)"
    return ""


PLUMBING = ("Constant", "Parameter", "Result")
"""Types of nodes of a model that compute nothing."""

COMPILED_PLUMBING = ("Const", "Input", "Output")
"""The same for a compiled model."""

DTYPES = {"f32": "float32", "u8": "uint8"}
"""OpenVINO's names of the types that inputs and outputs have."""


def compiled_model(
    model: bytes | str, threads: int, precision: str = "f32", *, profiled: bool = False
) -> Any:
    """A compiled model on the CPU, for one inference at a time.

    Args:
        model: a serialised ONNX model, or the path of one.
        threads: inside an operator; operators run one after the other.
        precision: of float operators, `f32` or `bf16`; 8-bit ones stay 8-bit.
        profiled: whether each operator is timed, which costs a little.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
        OpenVINO's own exceptions if the model does not load.
    """
    config = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        # a benchmark has pinned the process already: OpenVINO would move it to other cores
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": precision,
        "PERF_COUNT": profiled,
    }
    return core().compile_model(core().read_model(model), "CPU", config)


class OpenVinoSession(ArtifactSession):
    """An artifact for OpenVINO, loaded."""

    runtime = "openvino"
    evidence: Evidence = "host"

    def __init__(self, model: bytes | str, manifest: Manifest, threads: int) -> None:
        super().__init__(manifest)
        self._model = model
        try:
            self.precision_asked = precision(manifest)
            with native_output_hidden():  # OpenVINO's readers of other formats print warnings
                compiled = compiled_model(model, threads, self.precision_asked)
            self.precision = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
            has_bf16 = multiplies_bf16(cpuinfo())
            lacks_bf16 = None if has_bf16 is None else not has_bf16
            self.precision_emulated = lacks_bf16 if self.precision == "bf16" else False
            self.fallback = precision_fallback(self.precision_asked, self.precision, has_bf16)
            if self.fallback:
                _log.warning("%s: %s", manifest.file, self.fallback)
            self._outputs = [compiled.output(output.name) for output in manifest.outputs]
            self._request = compiled.create_infer_request()
        except RuntimeError as e:
            reason = one_line(e, -1)  # the lines before it are places in OpenVINO's source
            raise RuntimeFailedError(f"OpenVINO cannot load {manifest.file}: {reason}") from e

    def run(self, prepared: NDArray[Any]) -> list[Tensor]:
        """Every output of one prepared batch."""
        try:
            outputs = self._request.infer([prepared], share_inputs=True, share_outputs=True)
        except RuntimeError as e:
            file = self.manifest.file
            raise RuntimeFailedError(f"OpenVINO cannot run {file}: {one_line(e, -1)}") from e
        # a shared output is overwritten by the next inference
        return [np.array(outputs[output], np.float32) for output in self._outputs]

    @cached_property
    def _traced_model(self) -> Any:
        """The model, compiled with every float tensor as an output."""
        model = core().read_model(self._model)
        outputs = [
            out
            for op in model.get_ordered_ops()
            if op.get_type_name() not in PLUMBING
            for out in op.outputs()
            if out.get_element_type().to_string() == "f32" and out.get_names()
        ]
        output_names = {name for out in model.outputs for name in out.get_names()}
        model.add_outputs([o for o in outputs if not (o.get_names() & output_names)])
        config = {"INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}
        return core().compile_model(model, "CPU", config)

    def trace(self, prepared: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """Every float tensor of one prepared batch, by name."""
        values = self._traced_model([prepared])
        return {name: np.array(value) for out, value in values.items() for name in out.get_names()}


def inspect(path: Path) -> Inspection:
    """The input, outputs and operators of a file.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
        RuntimeFailedError: OpenVINO cannot load the file.
    """
    try:
        with native_output_hidden():
            model = core().read_model(str(path))
    except RuntimeError as e:
        raise RuntimeFailedError(f"OpenVINO cannot load {path.name}: {one_line(e, -1)}") from e
    counted = Counter(op.get_type_name() for op in model.get_ordered_ops())
    operators = {name: n for name, n in counted.most_common() if name not in PLUMBING}
    return Inspection(_spec(model.input()), tuple(map(_spec, model.outputs)), operators)


def primitives(path: Path, manifest: Manifest) -> dict[tuple[str, str], int]:
    """The primitives to which OpenVINO compiles a file for this CPU, by type and precision.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
        RuntimeFailedError: OpenVINO cannot load the file.
    """
    try:
        with native_output_hidden():
            compiled = compiled_model(str(path), 1, precision(manifest))
    except RuntimeError as e:
        raise RuntimeFailedError(f"OpenVINO cannot load {path.name}: {one_line(e, -1)}") from e
    infos = [op.get_rt_info() for op in compiled.get_runtime_model().get_ordered_ops()]
    keys = ("layerType", "runtimePrecision")
    counted = Counter(tuple(str(info[key].astype(str)) for key in keys) for info in infos)
    return {(k, p): n for (k, p), n in counted.most_common() if k not in COMPILED_PLUMBING}


def _spec(port: Any) -> TensorSpec:
    return TensorSpec(
        name=port.get_any_name(),
        shape=tuple(d.get_length() if d.is_static else -1 for d in port.get_partial_shape()),
        dtype=DTYPES[port.get_element_type().to_string()],
    )


def open_session(artifact: Artifact, threads: int) -> OpenVinoSession:
    """Load an artifact for OpenVINO.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
        RuntimeFailedError: OpenVINO cannot load the file.
    """
    return OpenVinoSession(str(artifact.path), artifact.manifest, threads)
