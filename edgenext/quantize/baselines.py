"""The methods of baselines: other quantizers to compare with, as `baselines.toml` names them."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgenext.errors import (
    ArtifactError,
    EdgenextError,
    MissingDependencyError,
    UsageError,
    unknown_name,
)
from edgenext.formats.openvino.session import telemetry_hidden
from edgenext.formats.session import one_line
from edgenext.quantize.baseline_rows import BASELINES, ENGINES
from edgenext.system.temporary import scratch_folder

Batches = Sequence[NDArray[np.generic]]

SIGNED_TO_UNSIGNED = 128
"""Added to an int8 zero point when its tensor is stored as uint8."""


def onnxruntime_defaults(model: onnx.ModelProto, batches: Batches) -> onnx.ModelProto:
    """`onnxruntime.quantization.quantize_static` without options."""
    return _onnxruntime_static(model, batches, {})


def onnxruntime_tuned(model: onnx.ModelProto, batches: Batches) -> onnx.ModelProto:
    """`quantize_static` as onnxruntime's documentation recommends it for x86.

    Weights are signed and per channel, with `reduce_range`: in 7 bits, since CPUs without VNNI add
    pairs of products in 16 bits and saturate. Activations are unsigned.
    """
    from onnxruntime.quantization import QuantType

    options = {
        "activation_type": QuantType.QUInt8,
        "weight_type": QuantType.QInt8,
        "per_channel": True,
        "reduce_range": True,
    }
    return _onnxruntime_static(model, batches, options)


def _onnxruntime_static(
    model: onnx.ModelProto, batches: Batches, options: Mapping[str, Any]
) -> onnx.ModelProto:
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class BatchReader(CalibrationDataReader):  # type: ignore[misc] # onnxruntime is untyped
        def __init__(self) -> None:
            self._batches: Iterator[NDArray[np.generic]] = iter(batches)

        def get_next(self) -> dict[str, NDArray[np.generic]] | None:
            batch = next(self._batches, None)
            return None if batch is None else {"input": batch}

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it recommends its preprocessing, which runs below
    try:
        with scratch_folder() as folder:
            original, preprocessed, quantized = (
                folder / f"{name}.onnx" for name in ("original", "preprocessed", "quantized")
            )
            onnx.save(model, original)
            quant_pre_process(str(original), str(preprocessed), skip_symbolic_shape=True)
            quantize_static(str(preprocessed), str(quantized), BatchReader(), **options)
            return onnx.load(quantized)
    finally:
        root.setLevel(level)


def nncf_static(model: onnx.ModelProto, batches: Batches) -> onnx.ModelProto:
    """`nncf.quantize` with its settings for transformers, as a Q/DQ graph for OpenVINO.

    Depth-wise convolutions and the products of attention stay float, because OpenVINO's CPU plugin
    runs them in float: quantizing them costs accuracy and saves no time.

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
    """The `nncf` package, imported without its output."""
    try:
        with warnings.catch_warnings(), telemetry_hidden():
            warnings.simplefilter("ignore")
            import nncf
    except ImportError as e:
        raise MissingDependencyError(
            f"NNCF cannot be imported ({e})", "Install it: pip install 'edgenext[nncf]'"
        ) from e
    # its own set_log_level also changes handlers, which other loggers may share
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf


def _float_in_openvino(model: onnx.ModelProto) -> list[str]:
    """Names of depth-wise convolutions and of products of two computed tensors."""
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
    beyond its buffers where it multiplies two signed tensors.
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
    del model.graph.value_info[:]  # some of its types are still int8
    return model


METHODS: dict[str, Callable[[onnx.ModelProto, Batches], onnx.ModelProto]] = {
    "onnxruntime-defaults": onnxruntime_defaults,
    "onnxruntime-tuned": onnxruntime_tuned,
    "nncf": nncf_static,
}
"""The function behind each `method` of `baselines.toml`."""


def quantize_with(name: str, model: onnx.ModelProto, batches: Batches) -> onnx.ModelProto:
    """Quantize a float graph with a baseline.

    Raises:
        ArtifactError: the baseline fails on the graph, which others may have made.
        MissingDependencyError: the baseline's package is not installed.
    """
    try:
        return METHODS[BASELINES[name].method](model, batches)
    except EdgenextError:
        raise
    except Exception as e:  # neither onnxruntime's nor NNCF's exceptions have a base class
        raise ArtifactError(
            f"{BASELINES[name].title} cannot quantize the graph: {one_line(e)}",
            "Use another --engine",
        ) from e


def require_engine(name: str, scheme: str) -> None:
    """Refuse an unknown engine, or one that does not make a scheme.

    Raises:
        UsageError: unknown, with the nearest names; or a scheme that the engine does not make.
    """
    if name not in ENGINES:
        raise unknown_name("engine", name, ENGINES)
    if name in BASELINES and scheme not in BASELINES[name].schemes:
        supported = " or ".join(BASELINES[name].schemes)
        raise UsageError(
            f"the engine {name} makes {supported} only, not {scheme}",
            f"Use --scheme {supported}, or leave --engine out",
        )


def form_of(engine: str, form: str) -> str:
    """The form of an engine's input graph, where this package's own engine reads `form`."""
    return (BASELINES[engine].form if engine in BASELINES else "") or form
