"""Weights of a TFLite file in 4 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

READERS = {"CONV_2D": 7, "FULLY_CONNECTED": 7}
"""Operators whose kernels take int4 weights → their version that does."""
LIMIT = 7
"""The largest level of int4 weights."""


def pack_int4(content: bytes) -> bytes:
    """The file with all weights in 4 bits whose levels fit, which changes none of them.

    The converter stores them as int8, with scales that use all of its range unless the quantizer
    chose int4.

    Args:
        content: of a TFLite file.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            version = READERS.get(names[code.builtinCode])
            weights = graph.tensors[operator.inputs[1]] if version else None
            if weights is not None and _packed(weights, model.buffers, schema):
                code.version = max(code.version, version)
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    used |= {entry.buffer for entry in model.metadata or ()}
    for number, buffer in enumerate(model.buffers):
        if number not in used:
            buffer.data = None
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _packed(weights: Any, buffers: list[Any], schema: Any) -> bool:
    """Pack a tensor in place; whether it is in 4 bits now."""
    if weights.type == schema.TensorType.INT4:
        return True
    data = buffers[weights.buffer].data
    if weights.type != schema.TensorType.INT8 or data is None:
        return False
    levels = np.asarray(data, np.uint8).view(np.int8)
    if np.abs(levels.astype(np.int16)).max() > LIMIT:
        return False
    buffer = schema.BufferT()
    buffer.data = packed_nibbles(levels)
    buffers.append(buffer)
    weights.type, weights.buffer = schema.TensorType.INT4, len(buffers) - 1
    return True


def packed_nibbles(levels: NDArray[np.int8]) -> NDArray[np.uint8]:
    """Two levels a byte, the first in the lower half."""
    nibbles = (levels & 0x0F).astype(np.uint8)
    nibbles = np.append(nibbles, np.zeros(len(nibbles) % 2, np.uint8))
    return np.asarray(nibbles[::2] | nibbles[1::2] << 4)
