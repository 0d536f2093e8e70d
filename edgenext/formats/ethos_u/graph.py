"""A Q/DQ graph as a TFLite file without floats.

Tensors that the graph has in 8 bits stay in 8 bits. Those it has in float get 16 bits, over the
range on the calibration images; a layer that computes in float from int8 weights gets 16-bit
activations. Activation functions (tables), products of two activations, and the input and output
of the file are always in 8 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from edgenext.errors import ArtifactError
from edgenext.formats.ethos_u import layers as integer_layers
from edgenext.formats.ethos_u import operators as integer_operators
from edgenext.formats.ethos_u.norms import INVERSE_ROOT, sizes
from edgenext.formats.ethos_u.ranges import Ranges
from edgenext.formats.ethos_u.tensors import (
    IMAGE,
    Tensors,
    byte_params_of,
    readers_params,
    stored_constant,
)


def integer_file(model: ir.Model, ranges: Ranges, description: str) -> bytes:
    """The content of a TFLite file.

    Args:
        model: Q/DQ graph with its norms decomposed (`norms.decompose_norms`).
        ranges: minimum and maximum of every float tensor.
        description: of the file, stored in it.

    Raises:
        ArtifactError: a graph that cannot be computed in integers; the operator is named.
    """
    graph, tensors = model.graph, Tensors(ranges)
    image = graph.inputs[0]
    if image.dtype == ir.DataType.FLOAT:
        readers = [node for node, _ in image.uses() if node.op_type == "QuantizeLinear"]
        params = byte_params_of(readers[0]) if readers else tensors.byte_params(image)
        tensors.add(image, [sizes(image)[i] for i in IMAGE], IMAGE, params)
    else:  # pixels, channels last
        shape = sizes(image)
        tensors[image] = tensors.file.activation("image", shape, np.uint8, 1.0, 0, range(4))
    for node in graph:
        if node.op_type not in OPERATORS:
            raise ArtifactError(f"{node.op_type} ({node.name}) is not supported in integers")
        OPERATORS[node.op_type](tensors, node)
    return tensors.file.content(tensors[image], tensors.bytes(graph.outputs[0]), description)


def _quantize(tensors: Tensors, node: ir.Node) -> None:
    params = byte_params_of(node)
    tensors[node.outputs[0]] = tensors.requantized(tensors[node.inputs[0]], params)


def _dequantize(tensors: Tensors, node: ir.Node) -> None:
    if stored_constant(node.outputs[0]) is None:  # constants are read through this node
        _pass(tensors, node)


def _pass(tensors: Tensors, node: ir.Node) -> None:
    """Only a change of type: uint8 pixels become int8."""
    x = tensors[node.inputs[0]]
    if x.dtype == np.uint8:
        x = tensors.requantized(x, (x.scale, x.zero - 128))
    tensors[node.outputs[0]] = x


def _transpose(tensors: Tensors, node: ir.Node) -> None:
    """The data stay in place; only the order of the axes changes."""
    x, perm = tensors[node.inputs[0]], list(node.attributes["perm"].as_ints())
    tensors[node.outputs[0]] = replace(x, order=tuple(perm.index(axis) for axis in x.order))


def _reshape(tensors: Tensors, node: ir.Node) -> None:
    x = tensors.arranged(tensors[node.inputs[0]])
    tensors[node.outputs[0]] = tensors.reshaped(x, sizes(node.outputs[0]))


def _split(tensors: Tensors, node: ir.Node) -> None:
    x = tensors[node.inputs[0]]
    axis = x.order.index(node.attributes["axis"].as_int())
    parts = []
    for value in node.outputs:
        shape = [sizes(value)[a] for a in x.order]
        parts.append(tensors.like(x, str(value.name), shape, x.order))
        tensors[value] = parts[-1]
    lengths = tensors.file.integers(*(part.shape[axis] for part in parts))
    inputs = [x.index, lengths, tensors.file.scalar(axis)]
    tensors.file.operator("SPLIT_V", inputs, parts, numSplits=len(parts))


def _concat(tensors: Tensors, node: ir.Node) -> None:
    value, inputs = node.outputs[0], [tensors[v] for v in node.inputs]
    order = inputs[0].order
    params = None if any(x.wide for x in inputs) else readers_params(value)
    target, wide = params or tensors.wide_params(value), params is None
    parts = [tensors.requantized(tensors.arranged(x, order), target, wide) for x in inputs]
    result = tensors.add(value, [sizes(value)[axis] for axis in order], order, params)
    axis = order.index(node.attributes["axis"].as_int())
    tensors.file.operator("CONCATENATION", [x.index for x in parts], [result], axis=axis)


OPERATORS: dict[str, Callable[[Tensors, ir.Node], None]] = {
    "Abs": integer_operators.magnitude,
    "Add": integer_operators.elementwise,
    "Cast": _pass,
    "Concat": _concat,
    "Conv": integer_layers.convolution,
    "DequantizeLinear": _dequantize,
    "Gelu": integer_operators.look_up,
    "Gemm": integer_layers.linear,
    "HardSwish": integer_operators.look_up,
    "MatMul": integer_operators.product,
    "Mul": integer_operators.elementwise,
    INVERSE_ROOT: integer_operators.inverse_root,
    "QuantizeLinear": _quantize,
    "ReduceMean": integer_operators.mean,
    "Reshape": _reshape,
    "Softmax": integer_operators.softmax,
    "Split": _split,
    "Squeeze": _reshape,
    "Sub": integer_operators.elementwise,
    "Transpose": _transpose,
}
"""The operators of deployment graphs whose norms are decomposed."""
