"""TFLite files on this machine's CPU, run by LiteRT with XNNPACK."""

from __future__ import annotations

import os
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgenext.errors import RuntimeFailedError
from edgenext.formats.session import (
    ArtifactSession,
    Inspection,
    Tensor,
    dequantized,
    needed,
    one_line,
)
from edgenext.schema import LOGITS, Evidence, Manifest, TensorSpec
from edgenext.system.native_output import native_output_hidden

if TYPE_CHECKING:
    from edgenext.formats.artifact import Artifact

Array = NDArray[Any]

DELEGATE = "DELEGATE"
"""LiteRT's operator for a part of the graph that XNNPACK runs."""


def preload() -> Any:
    """The `ai_edge_litert.interpreter` module, imported.

    Raises:
        MissingDependencyError: it is not installed.
    """
    with needed("LiteRT", "tflite"):
        from ai_edge_litert import interpreter
    return interpreter


def _interpreter(path: Path, threads: int, **options: Any) -> Any:
    """An interpreter with its tensors allocated.

    Raises:
        MissingDependencyError: LiteRT is not installed.
        RuntimeFailedError: LiteRT cannot load the file.
    """
    litert = preload()
    try:
        with native_output_hidden():
            loaded = litert.Interpreter(str(path), num_threads=threads, **options)
            loaded.allocate_tensors()
    except (ValueError, RuntimeError) as e:
        raise RuntimeFailedError(f"LiteRT cannot load {path.name}: {one_line(e)}") from e
    return loaded


def plain_interpreter(path: Path, threads: int, **options: Any) -> Any:
    """An interpreter without XNNPACK, whose operators are those of the file."""
    kind = preload().OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return _interpreter(path, threads, experimental_op_resolver_type=kind, **options)


class TfliteSession(ArtifactSession):
    """A TFLite artifact, loaded."""

    runtime = "litert"
    evidence: Evidence = "host"

    def __init__(self, path: Path, manifest: Manifest, threads: int) -> None:
        super().__init__(manifest)
        self._path = path
        self._loaded = _interpreter(path, threads)
        self._input = self._loaded.get_input_details()[0]["index"]
        self._outputs = _outputs(self._loaded, manifest)

    def run(self, prepared: Array) -> list[Tensor]:
        """Every output of one prepared batch."""
        try:
            self._loaded.set_tensor(self._input, prepared)
            self._loaded.invoke()
            return [
                _dequantized(self._loaded.get_tensor(detail["index"]), detail)
                for detail in self._outputs.values()
            ]
        except (ValueError, RuntimeError) as e:
            raise RuntimeFailedError(f"LiteRT cannot run {self._path.name}: {one_line(e)}") from e

    @cached_property
    def _traced_interpreter(self) -> Any:
        """An interpreter that keeps every tensor."""
        return plain_interpreter(
            self._path, os.cpu_count() or 1, experimental_preserve_all_tensors=True
        )

    def trace(self, prepared: Array) -> dict[str, NDArray[np.float32]]:
        """Every tensor computed from one prepared batch without XNNPACK, by name."""
        loaded = self._traced_interpreter
        loaded.set_tensor(loaded.get_input_details()[0]["index"], prepared)
        loaded.invoke()
        computed = {int(i) for op in loaded._get_ops_details() for i in op["outputs"]}
        return {
            str(detail["name"]): _dequantized(loaded.get_tensor(detail["index"]), detail)
            for detail in loaded.get_tensor_details()
            if detail["index"] in computed and detail["dtype"] in (np.float32, np.int8, np.int16)
        }


def _outputs(loaded: Any, manifest: Manifest | None = None) -> dict[str, dict[str, Any]]:
    """The outputs of a loaded file by name: of several, those of its signature, sorted.

    The graph has them in an order of its own. Of an adopted file only the chosen output is read.

    Raises:
        RuntimeFailedError: the file has no output of that name.
    """
    details = loaded.get_output_details()
    if manifest is not None and manifest.adopted:
        name = manifest.outputs[0].name
        chosen = [detail for detail in details if detail["name"] == name]
        if not chosen:
            raise RuntimeFailedError(f"{manifest.file} has no output {name!r}")
        return {name: chosen[0]}
    if len(details) == 1:
        return {LOGITS: details[0]}
    (signature,) = loaded._get_full_signature_list().values()
    by_index = {detail["index"]: detail for detail in details}
    return {name: by_index[index] for name, index in sorted(signature["outputs"].items())}


def _dequantized(value: Array, detail: dict[str, Any]) -> NDArray[np.float32]:
    """The real numbers of a tensor, which may have a scale and zero point."""
    scale, zero = detail["quantization"]
    if value.dtype == np.float32 or not scale:
        return np.asarray(value, np.float32)
    return dequantized(value, scale, zero)


def inspect(path: Path) -> Inspection:
    """The input, output and operators of a file.

    Raises:
        MissingDependencyError: LiteRT is not installed.
        RuntimeFailedError: LiteRT cannot load the file.
    """
    plain = plain_interpreter(path, 1)
    counted = Counter(op["op_name"] for op in plain._get_ops_details())
    delegated = _interpreter(path, 1)._get_ops_details()
    return Inspection(
        _spec("image", plain.get_input_details()[0]),
        tuple(_spec(name, detail) for name, detail in _outputs(plain).items()),
        dict(counted.most_common()),
        sum(op["op_name"] == DELEGATE for op in delegated),
    )


def executed_operators(path: Path) -> dict[str, int]:
    """Operators that run with XNNPACK, by type: its parts as DELEGATE, and those it leaves.

    The interpreter lists the replaced operators too, so the graph is followed from its outputs.

    Raises:
        MissingDependencyError: LiteRT is not installed.
        RuntimeFailedError: LiteRT cannot load the file.
    """
    loaded = _interpreter(path, 1)
    producers: dict[int, dict[str, Any]] = {}
    for op in loaded._get_ops_details():
        for tensor in map(int, op["outputs"]):
            if producers.get(tensor, op)["op_name"] != DELEGATE:  # it replaces other producers
                producers[tensor] = op
    pending = [int(detail["index"]) for detail in loaded.get_output_details()]
    executed: dict[int, str] = {}
    while pending:
        producer = producers.get(pending.pop())
        if producer is not None and producer["index"] not in executed:
            executed[producer["index"]] = producer["op_name"]
            pending += [int(tensor) for tensor in producer["inputs"] if tensor >= 0]
    return dict(Counter(executed.values()).most_common())


def _spec(name: str, detail: dict[str, Any]) -> TensorSpec:
    scale, zero = detail["quantization"]
    integer = bool(scale)
    return TensorSpec(
        name=name,
        shape=tuple(int(d) for d in detail["shape"]),
        dtype=np.dtype(detail["dtype"]).name,
        scale=float(scale) if integer else None,
        zero_point=int(zero) if integer else None,
    )


def open_session(artifact: Artifact, threads: int) -> TfliteSession:
    """Load a TFLite artifact.

    Raises:
        MissingDependencyError: LiteRT is not installed.
        RuntimeFailedError: LiteRT cannot load the file.
    """
    return TfliteSession(artifact.path, artifact.manifest, threads)
