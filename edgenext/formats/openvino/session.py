"""OpenVINO's IR, and ONNX files as they are, on this machine's CPU through OpenVINO."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
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
    with needed("OpenVINO", "openvino"), telemetry_hidden():
        import openvino
    return openvino


_log = logging.getLogger(__name__)


def precision(manifest: Manifest) -> str:
    """What OpenVINO computes in where the file does not say 8 bits: `bf16` or `f32`."""
    rest = (manifest.recipe or {}).get("rest")
    return "bf16" if "bf16" in (manifest.scheme, rest) else "f32"


PLUMBING = ("Constant", "Parameter", "Result")
"""Nodes of a model that compute nothing."""

COMPILED_PLUMBING = ("Const", "Input", "Output")
"""The same of a compiled model."""

DTYPES = {"f32": "float32", "u8": "uint8"}
"""OpenVINO's names of the types that inputs and outputs have."""


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


class OpenVinoSession(ArtifactSession):
    """An artifact for OpenVINO, loaded."""

    runtime = "openvino"
    evidence: Evidence = "host"

    def __init__(self, model: bytes | str, manifest: Manifest, threads: int) -> None:
        super().__init__(manifest)
        self._model = model
        try:
            with native_output_hidden():  # other formats' readers complain of what is not theirs
                asked = precision(manifest)
                compiled = compiled_model(model, threads, asked)
            taken = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
            if taken != asked:
                self.fallback = f"OpenVINO computes in {taken} here, not {asked}, for this CPU"
                _log.warning("%s: %s", manifest.file, self.fallback)
            self._output = compiled.output(manifest.outputs[0].name)
            self._request = compiled.create_infer_request()
        except RuntimeError as e:
            raise RuntimeFailedError(f"OpenVINO cannot load {manifest.file}: {_reason(e)}") from e

    def infer(self, prepared: NDArray[Any]) -> Logits:
        """Logits of one prepared batch."""
        try:
            outputs = self._request.infer([prepared], share_inputs=True, share_outputs=True)
        except RuntimeError as e:
            file = self.manifest.file
            raise RuntimeFailedError(f"OpenVINO cannot run {file}: {_reason(e)}") from e
        # a shared output is overwritten by the next inference
        return np.array(outputs[self._output])

    @cached_property
    def _open(self) -> Any:
        """The model compiled with every float tensor among its outputs."""
        core = preload().Core()
        model = core.read_model(self._model)
        outputs = [
            out
            for op in model.get_ordered_ops()
            if op.get_type_name() not in PLUMBING
            for out in op.outputs()
            if out.get_element_type().to_string() == "f32" and out.get_names()
        ]
        known = {name for out in model.outputs for name in out.get_names()}
        model.add_outputs([o for o in outputs if not (o.get_names() & known)])
        return core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def trace(self, prepared: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """Every float tensor of one prepared batch, by name."""
        values = self._open([prepared])
        return {name: np.array(value) for out, value in values.items() for name in out.get_names()}


def inspect(path: Path) -> Inspection:
    """What a file says of itself.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
        RuntimeFailedError: OpenVINO refuses the file.
    """
    core = preload().Core()
    try:
        with native_output_hidden():
            model = core.read_model(str(path))
    except RuntimeError as e:
        raise RuntimeFailedError(f"OpenVINO cannot load {path.name}: {_reason(e)}") from e
    counted = Counter(op.get_type_name() for op in model.get_ordered_ops())
    operators = {name: n for name, n in counted.most_common() if name not in PLUMBING}
    return Inspection(_spec(model.input()), tuple(map(_spec, model.outputs)), operators)


def primitives(path: Path, manifest: Manifest) -> dict[tuple[str, str], int]:
    """What a file is compiled to for this CPU: primitives by type and precision.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
        RuntimeFailedError: OpenVINO refuses the file.
    """
    try:
        with native_output_hidden():
            compiled = compiled_model(str(path), 1, precision(manifest))
    except RuntimeError as e:
        raise RuntimeFailedError(f"OpenVINO cannot load {path.name}: {_reason(e)}") from e
    told = [op.get_rt_info() for op in compiled.get_runtime_model().get_ordered_ops()]
    keys = ("layerType", "runtimePrecision")
    counted = Counter(tuple(str(about[key].astype(str)) for key in keys) for about in told)
    return {(k, p): n for (k, p), n in counted.most_common() if k not in COMPILED_PLUMBING}


def _spec(port: Any) -> TensorSpec:
    return TensorSpec(
        name=port.get_any_name(),
        shape=tuple(d.get_length() if d.is_static else -1 for d in port.get_partial_shape()),
        dtype=DTYPES[port.get_element_type().to_string()],
    )


def _reason(error: RuntimeError) -> str:
    """The last line of what OpenVINO says: the others are places in its source."""
    return str(error).strip().rpartition("\n")[2]


def open_session(artifact: Artifact, threads: int) -> OpenVinoSession:
    """Load an artifact for OpenVINO.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
        RuntimeFailedError: OpenVINO refuses the file.
    """
    return OpenVinoSession(str(artifact.path), artifact.manifest, threads)
