"""Layers with weights in an integer file, with 8-bit or with 16-bit activations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgenext.errors import ArtifactError
from edgenext.formats.ethos_u.norms import constant_of, sizes
from edgenext.formats.ethos_u.tensors import (
    IMAGE,
    MATRIX,
    Tensors,
    numbers,
    readers_params,
    stored_constant,
)
from edgenext.formats.tflite.writer import Array, Stored
from edgenext.graph.sites import groups

SAME, VALID = 0, 1
"""TFLite's paddings."""

MAX_STRIDE = 3
"""Of the NPU's convolutions: Vela would make one operator for each position of a wider one."""


def convolution(tensors: Tensors, node: ir.Node) -> None:
    """A convolution, dense or depth-wise.

    Raises:
        ArtifactError: unsupported groups or padding.
    """
    levels, scales = _weights(node)
    if _patches(node, levels):
        _patch_layer(tensors, node, levels, scales)
        return
    x = tensors.arranged(_input(tensors, node), IMAGE)
    depthwise = groups(node) > 1
    if depthwise and levels.shape[1] != 1:
        raise ArtifactError(
            f"{node.name} is a grouped convolution; only dense and depth-wise ones are supported"
        )
    weight = levels.transpose((1, 2, 3, 0) if depthwise else (0, 2, 3, 1))
    rows, columns = node.attributes["strides"].as_ints()
    options = {"padding": _padding(node, levels), "strideH": rows, "strideW": columns}
    shape = [sizes(node.outputs[0])[i] for i in IMAGE]
    if depthwise:
        options["depthMultiplier"] = 1
        _layer(tensors, node, "DEPTHWISE_CONV_2D", x, (weight, scales, 3), shape, **options)
    else:
        _layer(tensors, node, "CONV_2D", x, (weight, scales, 0), shape, **options)


def linear(tensors: Tensors, node: ir.Node) -> None:
    """A fully connected layer."""
    x = tensors.arranged(_input(tensors, node), MATRIX)
    shape = sizes(node.outputs[0])
    _layer(tensors, node, "FULLY_CONNECTED", x, (*_weights(node), 0), shape)


def _patch_layer(tensors: Tensors, node: ir.Node, levels: Array, scales: Array) -> None:
    """A convolution over adjacent patches, as one with a 1×1 kernel."""
    value = node.inputs[0]
    x = tensors.arranged(tensors[value], IMAGE)
    _, rows, columns, channels = x.shape
    height, width = levels.shape[2:]
    grid = (rows // height, columns // width)
    rows_apart = tensors.reshaped(x, (grid[0], height, grid[1], width * channels))
    patches = tensors.arranged(rows_apart, (0, 2, 1, 3))
    points = tensors.reshaped(patches, (1, *grid, height * width * channels), IMAGE)
    if not _is_8_bit(value):
        points = tensors.widened(points)
    weight = levels.transpose(0, 2, 3, 1).reshape(len(levels), 1, 1, -1)
    shape = (1, *grid, len(levels))
    options = {"padding": VALID, "strideH": 1, "strideW": 1}
    _layer(tensors, node, "CONV_2D", points, (weight, scales, 0), shape, **options)


def _layer(
    tensors: Tensors,
    node: ir.Node,
    kind: str,
    x: Stored,
    weights: tuple[Array, Array, int],
    shape: Sequence[int],
    **options: int,
) -> None:
    """Write the operator; `weights` are levels, scales, and the axis of the scales."""
    value, name = node.outputs[0], str(node.inputs[1].name if node.inputs[1] else node.name)
    levels, scales, axis = weights
    steps = np.float64(x.scale) * scales
    bias = np.round(numbers(node.inputs[2]).astype(np.float64) / steps)
    params = None if x.wide else readers_params(value) or tensors.byte_params(value)
    inputs = [
        x.index,
        tensors.file.constant(name, levels, list(scales), axis),
        tensors.file.constant(
            f"{name}_bias", bias.astype(np.int64 if x.wide else np.int32), list(steps)
        ),
    ]
    result = tensors.add(value, shape, IMAGE if len(shape) == len(IMAGE) else MATRIX, params)
    tensors.file.operator(kind, inputs, [result], **options)


def _input(tensors: Tensors, node: ir.Node) -> Stored:
    """The input of a layer: in 8 bits if the graph has it quantized, else in 16."""
    value = node.inputs[0]
    return tensors[value] if _is_8_bit(value) else tensors.wide(value)


def _is_8_bit(value: ir.Value | None) -> bool:
    """Whether the graph has a tensor quantized."""
    producer = value.producer() if value is not None else None
    return producer is not None and producer.op_type == "DequantizeLinear"


def _weights(node: ir.Node) -> tuple[Array, Array]:
    """The int8 levels of a layer's weights, and a scale for each of its outputs.

    Raises:
        ArtifactError: weights that are not quantized.
    """
    dequantize = stored_constant(node.inputs[1])
    if dequantize is None:
        raise ArtifactError(f"{node.name} has float weights", "Quantize the weights of all layers")
    levels, scales = (constant_of(v) for v in dequantize.inputs[:2])
    return levels, np.broadcast_to(scales, len(levels)).astype(np.float32)


def _pads(node: ir.Node) -> list[int]:
    return list(node.attributes["pads"].as_ints()) if "pads" in node.attributes else [0] * 4


def _patches(node: ir.Node, weight: Array) -> bool:
    """Whether a convolution reads adjacent patches, with a stride that the NPU does not have."""
    strides = list(node.attributes["strides"].as_ints())
    return strides == list(weight.shape[2:]) and max(strides) > MAX_STRIDE and not any(_pads(node))


def _padding(node: ir.Node, weight: Array) -> int:
    pads = _pads(node)
    if not any(pads):
        return VALID
    half_kernel = [size // 2 for size in weight.shape[2:]] * 2
    if pads == half_kernel and set(node.attributes["strides"].as_ints()) == {1}:
        return SAME
    raise ArtifactError(f"{node.name} is padded by {pads}, which is not supported")
