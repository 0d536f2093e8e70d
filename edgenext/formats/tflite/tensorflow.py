"""TFLite files by TensorFlow's converter. It runs in an environment without torch.

For w8a8-static, fake quantization in the graph gives the ranges of layers, and of layers only, as
in the target's recipe. The converter's own quantizer would quantize every operator, norms too. It
makes w8a16-static, whose norms are put back into float afterwards.
"""

from __future__ import annotations

import copy
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgenext.errors import DataError, InputError, UsageError, unknown_name
from edgenext.formats.tflite.tensorflow_network import (
    STEM,
    Array,
    Network,
    Observer,
    fake_quantizer,
    ignore,
    value_ranges,
)

SCHEMES = ("fp32", "fp16", "w8-weight-only", "w8a8-dynamic", "w8a8-static", "w8a16-static")

LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
IN_FLOAT = (
    *("MEAN", "SUB", "SQUARED_DIFFERENCE", "ADD", "RSQRT", "MUL"),
    *("SUM", "SOFTMAX", "BATCH_MATMUL", "GELU", "HARD_SWISH"),
)
"""Norms, attention, activations and residuals. Roots and squares lose too much in integers, and
every operator without an 8-bit kernel in XNNPACK would split the graph."""

CAST_VERSIONS = {"QUANTIZE": 2, "DEQUANTIZE": 5}
"""Versions of TFLite's operators that support int16, and scales per channel."""


def convert(job: Mapping[str, Any]) -> dict[str, Any]:
    """Make one TFLite file.

    Args:
        job: `weights`, the .npz of a folded network's arrays; `arch`, its architecture's fields;
            `num_classes`; `features`, the names of a backbone's outputs, empty for a classifier;
            `size`, height and width in pixels; `batch`; `scheme`, one of `SCHEMES`;
            `calibrated`, whether its ranges come from images; `samples`, for such schemes the .npy
            of N×H×W×3 float32 images as the network takes them (normalised, or 0–255 with
            `pixels`); `integer_io`, integer input and output of a static file; `pixels`, uint8
            input to a network that takes 0–255; `out`.

    Returns:
        `tool`, its name and version, and `notes` about the file for the user.

    Raises:
        UsageError: an unknown scheme, or options that exclude each other.
        InputError: weights that cannot be read or do not fit the architecture.
        DataError: calibration images that cannot be used.
    """
    _require_valid(job)
    arrays = _arrays(job)
    images = _images(job) if job["calibrated"] else None

    import tensorflow as tf

    converter = _converter(arrays, job, _observer(arrays, job, images))
    _configure(converter, job, images)
    content: bytes = converter.convert()
    notes = []
    if job["calibrated"]:
        content = in_float(content, IN_FLOAT)
        notes.append("norms, attention, activations and residuals are computed in float")
    elif job["scheme"] == "w8-weight-only":
        content = in_float(content, LAYERS)
    elif job["scheme"] == "w8a8-dynamic":
        content = in_float(content, ("DEPTHWISE_CONV_2D",))
    Path(job["out"]).write_bytes(content)
    return {"tool": f"tensorflow {tf.__version__}", "notes": notes}


def _require_valid(job: Mapping[str, Any]) -> None:
    """Refuse a scheme and options that exclude each other."""
    scheme = job["scheme"]
    if scheme not in SCHEMES:
        raise unknown_name("scheme", scheme, SCHEMES)
    if job["calibrated"] and not job.get("samples"):
        raise UsageError(f"{scheme} needs calibration images for its ranges")
    if job.get("integer_io") and not job["calibrated"]:
        raise UsageError(f"{scheme} has no integer input and output", "Use w8a8-static")


def _arrays(job: Mapping[str, Any]) -> dict[str, Array]:
    try:
        with np.load(job["weights"]) as file:
            arrays = dict(file)
    except (OSError, ValueError) as e:
        raise InputError(f"cannot read the weights {job['weights']}: {e}") from e
    if job.get("features"):
        return arrays
    shape = (job["num_classes"], job["arch"]["dims"][-1])
    head = arrays.get("head.weight")
    if head is None or head.shape != shape:
        raise InputError(f"the weights {job['weights']} have no head of {shape[0]}×{shape[1]}")
    return arrays


def _images(job: Mapping[str, Any]) -> Array:
    images: Array = np.load(job["samples"])
    height, width = job["size"]
    if images.ndim != 4 or images.shape[1:] != (height, width, 3) or len(images) < job["batch"]:
        raise DataError(
            f"the calibration images are {'×'.join(map(str, images.shape))}, not at least "
            f"{job['batch']}×{height}×{width}×3"
        )
    return images.astype(np.float32)


def _observer(
    arrays: Mapping[str, Array], job: Mapping[str, Any], images: Array | None
) -> Observer:
    """Fake quantization with calibrated ranges for w8a8-static; nothing for other schemes."""
    if images is None or job["scheme"] != "w8a8-static":
        return ignore
    ranges = value_ranges(arrays, job["arch"], images)
    if job.get("pixels"):
        ranges[f"{STEM}:in"] = (0.0, 255.0)
    return fake_quantizer(ranges)


def _converter(arrays: Mapping[str, Array], job: Mapping[str, Any], observe: Observer) -> Any:
    import tensorflow as tf

    network = Network(arrays, job["arch"], observe)
    cast = job.get("pixels") and not job["calibrated"]
    shape = (job["batch"], *job["size"], 3)

    def serve(input: Any) -> dict[str, Any]:  # noqa: A002 - its name in the file
        x = tf.cast(input, tf.float32)
        if names := job.get("features"):
            return dict(zip(names, network.features(x), strict=True))
        return {"logits": network(x)}

    module = tf.Module()
    module.serve = tf.function(
        serve,
        input_signature=[tf.TensorSpec(shape, tf.uint8 if cast else tf.float32, name="input")],
        autograph=False,
    )
    return tf.lite.TFLiteConverter.from_concrete_functions(
        [module.serve.get_concrete_function()], module
    )


def _configure(converter: Any, job: Mapping[str, Any], images: Array | None) -> None:
    import tensorflow as tf

    scheme, batch, ops = job["scheme"], job["batch"], tf.lite.OpsSet
    if scheme != "fp32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if scheme == "fp16":
        converter.target_spec.supported_types = [tf.float16]
    integer = tf.int8
    if scheme == "w8a16-static" and images is not None:
        integer = tf.int16
        starts = range(0, len(images) - batch + 1, batch)
        converter.representative_dataset = lambda: ([images[i : i + batch]] for i in starts)
        converter.target_spec.supported_ops = [
            ops.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
            ops.TFLITE_BUILTINS,
        ]
    if job["calibrated"]:
        if job.get("integer_io"):
            converter.inference_input_type = converter.inference_output_type = integer
        if job.get("pixels"):
            converter.inference_input_type = tf.uint8


def in_float(content: bytes, names: Container[str]) -> bytes:
    """Make operators of a TFLite file compute in float that it has in integers.

    Values pass between them in float; the inputs of other operators do not change.

    Args:
        content: a TFLite file with one graph.
        names: the operators, by their names in TFLite's schema.
    """
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(content)
    _FloatIslands(model).rewrite(names)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


class _FloatIslands:
    """A graph whose operators are rewritten to compute in float."""

    def __init__(self, model: Any) -> None:
        from tensorflow.lite.python import schema_py_generated as schema
        from tensorflow.lite.tools import flatbuffer_utils

        self._schema, self._model, (self._graph,) = schema, model, model.subgraphs
        codes = range(len(model.operatorCodes))
        self._kinds = [flatbuffer_utils.opcode_to_name(model, i) for i in codes]
        self._floats: dict[int, int] = {}
        """Integer tensor → the float tensor with its values."""
        self._same: dict[int, int] = {}
        """Float tensor → an earlier one with the same values."""
        self._operators: list[Any] = []

    def rewrite(self, names: Container[str]) -> None:
        """Rewrite the operators of some names, and drop casts that nothing reads."""
        for op in self._graph.operators:
            op.inputs = [self._same.get(i, i) for i in op.inputs]
            op.outputs = list(op.outputs)
            kind = self._kinds[op.opcodeIndex]
            if kind in names:
                self._in_float(op)
                continue
            self._operators.append(op)
            if kind == "QUANTIZE" and self._is_float(op.inputs[0]):
                self._floats[op.outputs[0]] = op.inputs[0]
            elif kind == "DEQUANTIZE":
                self._same[op.outputs[0]] = self._floats.setdefault(op.inputs[0], op.outputs[0])
        read = set(self._graph.outputs).union(*(op.inputs for op in self._operators))
        self._graph.operators = [op for op in self._operators if read & set(op.outputs)]

    def _in_float(self, op: Any) -> None:
        for tensor in filter(self._is_integer, op.inputs):
            if tensor not in self._floats:
                self._floats[tensor] = self._twin(tensor)
                self._cast("DEQUANTIZE", tensor, self._floats[tensor])
        op.inputs = [self._floats.get(i, i) for i in op.inputs]
        self._operators.append(op)
        for tensor in filter(self._is_integer, op.outputs):
            self._floats[tensor] = self._twin(tensor)
            self._cast("QUANTIZE", self._floats[tensor], tensor)
        op.outputs = [self._floats.get(i, i) for i in op.outputs]

    def _is_float(self, tensor: int) -> bool:
        return bool(self._graph.tensors[tensor].type == self._schema.TensorType.FLOAT32)

    def _is_integer(self, tensor: int) -> bool:
        kinds = (self._schema.TensorType.INT8, self._schema.TensorType.INT16)
        return tensor >= 0 and bool(self._graph.tensors[tensor].type in kinds)

    def _twin(self, tensor: int) -> int:
        """A new float tensor of the same shape."""
        twin = copy.copy(self._graph.tensors[tensor])
        twin.type, twin.quantization, twin.buffer = self._schema.TensorType.FLOAT32, None, 0
        twin.name += b"/float"
        self._graph.tensors.append(twin)
        return len(self._graph.tensors) - 1

    def _cast(self, kind: str, source: int, result: int) -> None:
        op, code = self._schema.OperatorT(), self._schema.OperatorCodeT()
        code.builtinCode = getattr(self._schema.BuiltinOperator, kind)
        code.deprecatedBuiltinCode, code.version = code.builtinCode, CAST_VERSIONS[kind]
        self._model.operatorCodes.append(code)
        self._kinds.append(kind)
        op.opcodeIndex, op.inputs, op.outputs = len(self._kinds) - 1, [source], [result]
        self._operators.append(op)
