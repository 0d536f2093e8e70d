"""Write a TFLite file operator by operator: quantized tensors, constants, operators in order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

VERSIONS = {
    "ABS": (2, 3),
    "ADD": (2, 3),
    "BATCH_MATMUL": (2, 3),
    "CONCATENATION": (2, 3),
    "CONV_2D": (3, 4),
    "DEPTHWISE_CONV_2D": (3, 5),
    "FULLY_CONNECTED": (4, 7),
    "GELU": (2, 2),
    "HARD_SWISH": (1, 1),
    "MEAN": (2, 3),
    "MUL": (2, 4),
    "QUANTIZE": (1, 2),
    "RESHAPE": (1, 1),
    "RSQRT": (2, 3),
    "SOFTMAX": (2, 3),
    "SPLIT_V": (2, 2),
    "SUB": (2, 5),
    "TRANSPOSE": (2, 4),
}
"""Versions of TFLite's operators that support int8, and int16."""

OPTIONS = {
    "BATCH_MATMUL": "BatchMatMulOptions",
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "MEAN": "ReducerOptions",
}
"""Options whose name does not follow from that of the operator."""

WITHOUT_OPTIONS = ("RSQRT",)
"""Operators that have no options."""


@dataclass(frozen=True)
class Stored:
    """An activation in the file.

    Axis i of the stored `shape` is axis `order[i]` of the tensor in the graph. Its numbers are
    scale · (stored − zero).
    """

    index: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float
    zero: int
    order: tuple[int, ...]

    @property
    def wide(self) -> bool:
        """Whether it is 16 bits wide."""
        return self.dtype == np.int16


class Writer:
    """A file with one subgraph, while it is written."""

    def __init__(self) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema: Any = schema
        self._graph: Any = schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        self._buffers: list[Any] = [schema.BufferT()]
        self._codes: dict[tuple[str, int], int] = {}
        self._integers: dict[tuple[int, ...], int] = {}

    def activation(
        self,
        name: str,
        shape: Sequence[int],
        dtype: type[np.integer[Any]],
        scale: float,
        zero: int,
        order: Sequence[int],
    ) -> Stored:
        """A tensor that an operator will write, or the input of the file."""
        index = self._tensor(name, shape, np.dtype(dtype), 0, [scale], [zero])
        return Stored(index, tuple(shape), np.dtype(dtype), scale, zero, tuple(order))

    def constant(self, name: str, array: Array, scales: Sequence[float] = (), axis: int = 0) -> int:
        """A constant; symmetric if quantized, with one scale or one for each slice along `axis`."""
        data = self._schema.BufferT()
        data.data = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        self._buffers.append(data)
        buffer = len(self._buffers) - 1
        zeros = [0] * len(scales)
        return self._tensor(name, array.shape, array.dtype, buffer, scales, zeros, axis)

    def integers(self, *values: int) -> int:
        """A constant vector of int32, such as axes or a shape."""
        if values not in self._integers:
            name = "integers_" + "_".join(map(str, values))
            self._integers[values] = self.constant(name, np.asarray(values, np.int32))
        return self._integers[values]

    def scalar(self, value: int) -> int:
        """A constant int32 without dimensions."""
        return self.constant(f"scalar_{value}", np.asarray(value, np.int32))

    def operator(
        self, kind: str, inputs: Sequence[int], outputs: Sequence[Stored], **options: Any
    ) -> None:
        """An operator with the options of its kind; it reads tensors by their index."""
        operator = self._schema.OperatorT()
        operator.opcodeIndex = self._code(kind, any(o.wide for o in outputs))
        operator.inputs = np.asarray(inputs, np.int32)
        operator.outputs = np.asarray([o.index for o in outputs], np.int32)
        if kind not in WITHOUT_OPTIONS:
            name = OPTIONS.get(kind) or "".join(p.capitalize() for p in kind.split("_")) + "Options"
            operator.builtinOptionsType = getattr(self._schema.BuiltinOptions, name)
            operator.builtinOptions = getattr(self._schema, f"{name}T")()
            for option, value in options.items():
                setattr(operator.builtinOptions, option, value)
        self._graph.operators.append(operator)

    def content(self, source: Stored, result: Stored, description: str) -> bytes:
        """The content of the file, with its input, output and description."""
        schema, graph = self._schema, self._graph
        graph.inputs = np.asarray([source.index], np.int32)
        graph.outputs = np.asarray([result.index], np.int32)
        model = schema.ModelT()
        model.version, model.description = 3, description
        model.operatorCodes = [self._operator_code(*key) for key in self._codes]
        model.subgraphs, model.buffers = [graph], self._buffers
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = "serving_default", 0
        signature.inputs = [self._named("image", source)]
        signature.outputs = [self._named("logits", result)]
        model.signatureDefs = [signature]
        builder = flatbuffers.Builder()
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _named(self, name: str, tensor: Stored) -> Any:
        entry = self._schema.TensorMapT()
        entry.name, entry.tensorIndex = name, tensor.index
        return entry

    def _code(self, kind: str, wide: bool) -> int:
        key = kind, VERSIONS[kind][wide]
        return self._codes.setdefault(key, len(self._codes))

    def _operator_code(self, kind: str, version: int) -> Any:
        code = self._schema.OperatorCodeT()
        code.builtinCode = getattr(self._schema.BuiltinOperator, kind)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = version
        return code

    def _tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: np.dtype[Any],
        buffer: int,
        scales: Sequence[float],
        zeros: Sequence[int],
        axis: int = 0,
    ) -> int:
        tensor = self._schema.TensorT()
        tensor.name, tensor.buffer = name, buffer
        tensor.shape = np.asarray(shape, np.int32)
        tensor.type = getattr(self._schema.TensorType, dtype.name.upper())
        if len(scales):
            tensor.quantization = self._schema.QuantizationParametersT()
            tensor.quantization.scale = np.asarray(scales, np.float32)
            tensor.quantization.zeroPoint = np.asarray(zeros, np.int64)
            tensor.quantization.quantizedDimension = axis
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1
