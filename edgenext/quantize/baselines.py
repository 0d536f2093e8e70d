"""Other quantizers: the baselines anyone would reach for, each as it is recommended."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgenext.errors import MissingDependencyError, UsageError, unknown_name
from edgenext.formats.openvino.session import telemetry_hidden
from edgenext.options import ENGINE


@dataclass(frozen=True)
class Baseline:
    """Another quantizer: the target that its files are for, the form it is given, its schemes.

    No form stands for the target's own.
    """

    quantize: Callable[[onnx.ModelProto, Sequence[NDArray[np.generic]]], onnx.ModelProto]
    target: str
    form: str = ""
    schemes: tuple[str, ...] = ("w8a8-static",)


SIGNED_TO_UNSIGNED = 128
"""What is added to an int8 zero point when its tensor is stored as uint8."""


def onnxruntime_static(
    model: onnx.ModelProto, batches: Sequence[NDArray[np.generic]]
) -> onnx.ModelProto:
    """`onnxruntime.quantization.quantize_static` with every default, on the plain graph."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc] # onnxruntime is untyped
        def __init__(self) -> None:
            self._batches: Iterator[NDArray[np.generic]] = iter(batches)

        def get_next(self) -> dict[str, NDArray[np.generic]] | None:
            batch = next(self._batches, None)
            return None if batch is None else {"input": batch}

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it advises on its own preprocessing, which was done
    try:
        with tempfile.TemporaryDirectory() as folder:
            plain, ready, done = (Path(folder) / f"{n}.onnx" for n in ("plain", "ready", "done"))
            onnx.save(model, plain)
            quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
            quantize_static(str(ready), str(done), Reader())
            return onnx.load(done)
    finally:
        root.setLevel(level)


def nncf_static(model: onnx.ModelProto, batches: Sequence[NDArray[np.generic]]) -> onnx.ModelProto:
    """`nncf.quantize` with its settings for transformers, as a Q/DQ graph for OpenVINO.

    Depthwise convolutions and the products of attention are left out, as OpenVINO's CPU plugin
    runs them in float: quantizing them costs accuracy and gains no time.

    Raises:
        MissingDependencyError: NNCF is not installed.
    """
    nncf = _nncf()
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),  # progress bars; errors are exceptions
    ):
        warnings.simplefilter("ignore")
        quantized: onnx.ModelProto = nncf.quantize(
            copy,
            nncf.Dataset(batches, lambda batch: {"input": batch}),
            subset_size=len(batches),
            preset=nncf.QuantizationPreset.MIXED,
            model_type=nncf.ModelType.TRANSFORMER,
            ignored_scope=nncf.IgnoredScope(names=_float_in_openvino(copy)),
        )
    return _unsigned(quantized)


def _nncf() -> Any:
    """The `nncf` package, imported and quiet."""
    try:
        with warnings.catch_warnings(), telemetry_hidden():
            warnings.simplefilter("ignore")
            import nncf
    except ImportError as e:
        raise MissingDependencyError(
            f"NNCF cannot be imported ({e})", "Install it: pip install 'edgenext[nncf]'"
        ) from e
    # its own set_log_level also changes handlers, which others may share
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf


def _float_in_openvino(model: onnx.ModelProto) -> list[str]:
    """Names of depthwise convolutions and of products of two computed tensors."""
    constants = {tensor.name for tensor in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if (node.op_type == "Conv" and any(a.name == "group" and a.i > 1 for a in node.attribute))
        or (node.op_type == "MatMul" and constants.isdisjoint(node.input))
    ]


def _unsigned(model: onnx.ModelProto) -> onnx.ModelProto:
    """Store int8 activations as uint8: the same values, shifted.

    OpenVINO 2026.4 loses 1.7 dB on signed activations whose zero point is not zero, and writes
    beyond its buffers where it multiplies two signed ones.
    """
    zeros = {
        node.input[2]
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and len(node.input) > 2
    }
    for tensor in model.graph.initializer:
        if tensor.name in zeros and tensor.data_type == onnx.TensorProto.INT8:
            levels = onnx.numpy_helper.to_array(tensor).astype(np.int16) + SIGNED_TO_UNSIGNED
            tensor.CopyFrom(onnx.numpy_helper.from_array(levels.astype(np.uint8), tensor.name))
    del model.graph.value_info[:]  # some of it still says int8
    return model


BASELINES = {
    "onnxruntime": Baseline(onnxruntime_static, "cpu-onnxruntime", form="naive"),
    "nncf": Baseline(nncf_static, "cpu-openvino"),
}
"""Baselines by the name that `--engine` takes."""

ENGINES = (ENGINE, *BASELINES)


def require_engine(name: str, scheme: str) -> None:
    """Refuse an engine that does not exist, or does not make a scheme.

    Raises:
        UsageError: it does not; the nearest names are suggested.
    """
    if name not in ENGINES:
        raise unknown_name("engine", name, ENGINES)
    if name in BASELINES and scheme not in BASELINES[name].schemes:
        makes = " or ".join(BASELINES[name].schemes)
        raise UsageError(f"the engine {name} makes {makes} only, not {scheme}")


def form_of(engine: str, form: str) -> str:
    """The form that an engine is given, where this package's own would get `form`."""
    return (BASELINES[engine].form if engine in BASELINES else "") or form


def default_baselines(scheme: str) -> tuple[str, ...]:
    """The baselines of a run that names none: onnxruntime's quantizer, where it makes the scheme."""
    return tuple(n for n in ("onnxruntime",) if scheme in BASELINES[n].schemes)
