"""A Q/DQ graph as a TFLite file without a float in it.

What the graph has in bytes stays in these bytes. What it leaves in float becomes 16 bits wide, in
the range of the calibration images; a layer that computes in float from int8 weights becomes one
of 16-bit activations. Only activations that are tables, and products of two of them, are in bytes
always; so is what the file takes and gives.
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
from edgenext.formats.ethos_u.tensors import IMAGE, Tensors, byte_params_of, stored, wanted


def integer_file(model: ir.Model, ranges: Ranges, about: str) -> bytes:
    """The content of a TFLite file.

    Args:
        model: Q/DQ graph with its norms written out (`integer_norms`).
        ranges: least and greatest value of every float tensor.
        about: description that stands in the file.

    Raises:
        ArtifactError: a graph that integers cannot compute, by the name of the operator.
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
            raise ArtifactError(f"{node.op_type} ({node.name}) is not known in integers")
        OPERATORS[node.op_type](tensors, node)
    return tensors.file.content(tensors[image], tensors.bytes(graph.outputs[0]), about)


def _quantize(tensors: Tensors, node: ir.Node) -> None:
    params = byte_params_of(node)
    tensors[node.outputs[0]] = tensors.requantized(tensors[node.inputs[0]], params)


def _dequantize(tensors: Tensors, node: ir.Node) -> None:
    if stored(node.outputs[0]) is None:  # else whoever reads the constant looks here
        _pass(tensors, node)


def _pass(tensors: Tensors, node: ir.Node) -> None:
    """Nothing but a change of type: pixels become signed bytes."""
    x = tensors[node.inputs[0]]
    if x.dtype == np.uint8:
        x = tensors.requantized(x, (x.scale, x.zero - 128))
    tensors[node.outputs[0]] = x


def _transpose(tensors: Tensors, node: ir.Node) -> None:
    """Nothing is moved: the order of the axes is another."""
    x, perm = tensors[node.inputs[0]], list(node.attributes["perm"].as_ints())
    tensors[node.outputs[0]] = replace(x, order=tuple(perm.index(axis) for axis in x.order))


def _reshape(tensors: Tensors, node: ir.Node) -> None:
    x = tensors.arranged(tensors[node.inputs[0]])
    tensors[node.outputs[0]] = tensors.reshaped(x, sizes(node.outputs[0]))


def _split(tensors: Tensors, node: ir.Node) -> None:
    x = tensors[node.inputs[0]]
    axis = x.order.index(node.attributes["axis"].as_int())
    made = []
    for value in node.outputs:
        shape = [sizes(value)[a] for a in x.order]
        made.append(tensors.like(x, str(value.name), shape, x.order))
        tensors[value] = made[-1]
    parts = tensors.file.integers(*(m.shape[axis] for m in made))
    inputs = [x.index, parts, tensors.file.scalar(axis)]
    tensors.file.operator("SPLIT_V", inputs, made, numSplits=len(made))


def _concat(tensors: Tensors, node: ir.Node) -> None:
    value, found = node.outputs[0], [tensors[v] for v in node.inputs]
    order = found[0].order
    params = None if any(x.wide for x in found) else wanted(value)
    target = params or tensors.wide_params(value)
    parts = [tensors.requantized(tensors.arranged(x, order), target, params is None) for x in found]
    made = tensors.add(value, [sizes(value)[axis] for axis in order], order, params)
    axis = order.index(node.attributes["axis"].as_int())
    tensors.file.operator("CONCATENATION", [x.index for x in parts], [made], axis=axis)


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
"""What deployment graphs consist of once their norms are written out."""
